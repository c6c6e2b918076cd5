"""Settings of `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from eat_lightning.bundle.bundle import is_adapted, is_of_lists
from eat_lightning.config import Settings
from eat_lightning.long_texts import Mode
from eat_lightning.record.claim import Claim, agreement
from eat_lightning.validation import STRICT, Count, NotNegative

Api = Literal["native", "tei", "hf", "vllm"]
Share = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, BeforeValidator(str)]  # a class may be called 0


class Build(BaseModel):
    """One of the two models to compare, and how it is opened.

    Args:
        model: a folder, a name on the hub, the URL of a server, or a file of answers.
        backend: how to run a folder: torch (this package's kernels), onnx or openvino. None:
            transformers for its own folders, torch for runs, onnx for exports.
        dtype: fp32, bf16 or int8. None: fp32, or that of the exported graphs.
        certificate: name of a certificate of eat certify whose exits to use.
        api: protocol of a server: native (eat serve), tei, hf or vllm.
        token_env: environment variable that holds a server's bearer token.
    """

    model_config = STRICT | ConfigDict(frozen=True)

    model: str | None
    backend: Literal["torch", "onnx", "openvino"] | None = None
    dtype: Literal["fp32", "bf16", "int8"] | None = None
    certificate: str | None = None
    api: Api = "native"
    token_env: str | None = None

    @property
    def title(self) -> str:
        """Its name and non-default settings, for display."""
        how = [self.backend, self.dtype, self.certificate, self.api if self.is_server else None]
        chosen = ", ".join(filter(None, how))
        return f"{self.model} ({chosen})" if chosen else str(self.model)

    @property
    def is_server(self) -> bool:
        return str(self.model).startswith(("http://", "https://"))


class VerifySettings(Settings):
    """Settings of a comparison, documented in `eat_lightning.verify`."""

    run: str | None
    old: Build
    new: Build
    texts: str | None
    queries: str | None
    keep: Count
    agree: Share
    confidence: Share
    per_class: dict[Name, Share] | None
    positive: Name | None
    map: dict[Name, Name] | None
    tolerance: NotNegative | None
    cuts: list[float]
    columns: list[str] | None
    most: Count
    batch: Count
    threads: Count | None
    long: Mode | None
    format: Literal["text", "json", "markdown"]
    to: str | None

    @property
    def builds(self) -> list[tuple[str, Build]]:
        """Both models, by the settings that name them."""
        return [("old", self.old), ("new", self.new)]

    def rules(self) -> Iterator[str]:
        if self.run is not None and (not is_adapted(self.run) or is_of_lists(self.run)):
            yield f"run={self.run}: has no canaries, which `eat adapt` writes"
        for key, build in self.builds:
            if self.run is not None and build.model:
                yield f"run={self.run} is checked by itself, without {key}={build.model}"
            if self.run is None and not build.model:
                yield f"{key} must name a model or a file of answers: {key}=..."
        if self.texts is not None and self.queries is not None:
            yield "texts and queries: give one of them"
        if self.columns is not None and len(self.columns) not in (1, 2):
            yield f"columns must name one or two, got {self.columns}"
        if self.tolerance is not None and self.cuts:
            yield "tolerance and cuts: give one of them"

    @property
    def claims(self) -> list[Claim]:
        return agreement(self.agree, self.confidence, self.per_class)
