"""`eat_lightning.adapt`: the command from Python, and the classifier that it gives."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from weakref import finalize

import yaml

from eat_lightning.config import CONFIG_DIR
from eat_lightning.deploy.adapt.list_run import adapt_lists
from eat_lightning.deploy.adapt.plan import A_LIST, AdaptSettings, ListSettings
from eat_lightning.deploy.adapt.run import adapt as run
from eat_lightning.deploy.adapt.search import Bench
from eat_lightning.engines.adapted import AboutAdapted, AdaptedHome, open_adapted
from eat_lightning.engines.plan import ADAPTED
from eat_lightning.engines.reranker import Reranker
from eat_lightning.errors import ConfigError
from eat_lightning.export.folder_swap import folder_swap
from eat_lightning.record.certificate import Certificate

if TYPE_CHECKING:
    from pandas import DataFrame

    from eat_lightning.infer.backend import Backend


@dataclass
class Adapted:
    """A classifier that was adapted, as its folder has it.

    ValueError, in one line, for a folder that `eat adapt texts=` did not write.

    Args:
        folder: that `eat adapt` wrote.
        threads: of onnxruntime or OpenVINO; None: those with which it was timed. Our own kernels
            follow `torch.set_num_threads`.
        check: answer the folder's canaries first; ValueError where an answer is not the certified
            one, as it may happen on another processor.
    """

    folder: str | Path
    threads: int | None = None
    check: bool = False

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        if not (self.folder / ADAPTED).is_file():
            there = f"has no {ADAPTED}, which `eat adapt` writes"
            missing = there if self.folder.exists() else "there is no such folder"
            raise ValueError(f"folder={self.folder}: {missing}")
        if self.check:
            self.backend  # noqa: B018  # opened now, and checked

    @cached_property
    def about(self) -> AboutAdapted:
        return AboutAdapted.read(Path(self.folder))

    @cached_property
    def backend(self) -> Backend:
        try:
            return open_adapted(self.folder, self.threads, self.check)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @property
    def certificate(self) -> Certificate:
        """The guarantee, and the counts that it stands on."""
        return AdaptedHome(Path(self.folder)).certificate(self.about.point)

    @property
    def table(self) -> DataFrame:
        """All candidates that were tried, a row each."""
        from pandas import json_normalize

        return json_normalize(
            [{"name": each.name, **each.as_dict()} for each in self.about.candidates]
        )

    def classify(self, texts: Sequence[Any], batch: int = 32) -> list[dict[str, Any]]:
        """Answer texts, or pairs of them: label, confidence, depth, reason, retention.

        confidence: that of the pipeline's `score`, but for texts that leave early only near it.
        A text that is refused for its length has `error` alone.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a list of texts, or of pairs, got one text")
        if None in texts:
            raise ValueError("texts must be a list of texts, or of pairs, got None among them")
        rows = [[text] if isinstance(text, str) else list(text) for text in texts]
        wanted = len(self.about.columns)
        if wrong := [row for row in rows if len(row) != wanted]:
            raise ValueError(f"each example must have {wanted} texts, got {len(wrong[0])}")
        groups = [rows[i : i + batch] for i in range(0, len(rows), batch)]
        return [answer for group in groups for answer in self.backend.answer(group)]

    def save(self, folder: str | Path) -> None:
        """Copy it to a new folder. FileExistsError where there is one."""
        if Path(folder).exists():
            raise FileExistsError(f"{folder} is there already")
        with folder_swap(Path(folder)) as beside:
            shutil.copytree(self.folder, beside, dirs_exist_ok=True)


def adapt(
    model: str | Path,
    texts: str | Path | Sequence[Any] | None,
    to: str | Path | None,
    queries: str | Path | Sequence[Mapping[str, Any]] | None = None,
    bench: Bench | None = None,
    **settings: Any,
) -> Adapted | Reranker:
    """Do the work of `eat_lightning.adapt`. bench: of texts, in place of this machine's."""
    config = yaml.safe_load(Path(CONFIG_DIR, "adapt.yaml").read_text("utf-8"))
    for key in ("defaults", "hydra", "classifier"):
        del config[key]
    for key in ("heads", "times", "windows"):
        config[key] |= settings.pop(key, {})
    config |= settings | {"texts": source_name(texts), "queries": source_name(queries)}
    with ExitStack() as temporary:
        if to is None:
            folder = TemporaryDirectory(prefix="adapted-", ignore_cleanup_errors=True)
            to = Path(temporary.enter_context(folder), "adapted")
        config |= {"model": str(model), "to": str(to)}
        try:
            if queries is not None:
                adapt_lists(ListSettings.of(config), listed(queries))
                made = Reranker(to)
            else:
                run(AdaptSettings.of(config), listed(texts), bench)
                made = Adapted(Path(to))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        finalize(made, temporary.pop_all().close)
        return made


def source_name(given: Any) -> str | None:
    """Name what is adapted on, as the command would."""
    if given is None:
        return None
    return str(given) if isinstance(given, str | Path) else A_LIST


def listed(given: Any) -> list[Any] | None:
    """Give the examples of a list; None for a path."""
    return None if given is None or isinstance(given, str | Path) else [*given]
