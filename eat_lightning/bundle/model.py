"""A model that answers: a run in torch, graphs in onnxruntime or OpenVINO, or a cascade of two.

Shapes: B examples of a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from eat_lightning.bundle.bundle import Bundle
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.long_texts import Answerer, LongTexts, ReadText
from eat_lightning.model.policy import Policy
from eat_lightning.model.trace import Trace
from eat_lightning.record.measured import Measured

if TYPE_CHECKING:
    from pandas import DataFrame

    from eat_lightning.model.contracts import ExitRule
    from eat_lightning.record.certificate import Certificate
    from eat_lightning.record.point import Point
    from eat_lightning.record.record import Record


@dataclass(frozen=True)
class RankedCandidate:
    """One candidate of a ranked list.

    Args:
        index: index of the candidate in the input.
        score: its score at the depth where it left; scores of different depths are not comparable.
        depth: number of layers that it ran.
    """

    index: int
    score: float
    depth: int


class Model(Answerer):
    """A model ready to answer, and its folder. `Model.open` opens one.

    Attributes:
        folder: the folder that it was opened from.
        columns: names of the texts of an example.
        labels: names of its classes; empty for a score.
        dtype: precision in which its layers are computed.
        exits: layers at which an example may exit, including the last.
        max_length: maximum number of tokens that it reads at once.
        threads: processor threads of its engine, or with which a certified model was timed.
        certificate: the guarantee in force and the counts that it stands on; None: there is none.
        candidates: all that `eat adapt` tried for it.
    """

    folder: Path
    dtype: str
    exits: list[int]
    max_length: int
    threads: int | None = None
    certificate: Certificate | None = None
    candidates: Sequence[Measured] = ()
    ranks = False  # True for a reranker
    uses_torch = True  # False where graphs alone answer

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        point: Point | None = None,
        engine: Literal["torch", "onnx", "openvino", "auto"] | None = None,
        dtype: str | None = None,
        exit: Mapping[str, Any] | None = None,
        budget: float | str | None = None,
        agree: float | None = None,
        certificate: str | None = None,
        policies: Sequence[Policy] | None = None,
        prepack: bool | None = None,
        device: str = "cpu",
        threads: int | None = None,
        batch: int = 1,
        long: LongTexts | None = None,
        check: bool = False,
    ) -> Self:
        """Open a run, an export, or a folder that `eat adapt` or `eat rerank` wrote.

        What was adapted runs as it was certified, so of the settings below it takes `threads`,
        `long` and `check` only.

        Args:
            path: the folder.
            point: engine, precision, methods and policies in one object. Of an export, whose graphs
                are fixed, only stricter exits.
            engine: torch, onnx, openvino, or auto for the fastest of them here. None: torch for a
                run, onnx for an export. A run's graphs are made once, and kept beside it.
            dtype: fp32, bf16 or int8. None: fp32, or as exported.
            exit: settings of the run's exit rule, or of another rule that is named.
            budget: mean cost of an example: a share of the FLOPs (0.5), or a time ("12ms"). The
                thresholds are fitted on the run's calibration data if no dial has them yet.
            agree: the lowest cost at which this share of answers stays equal to full depth.
            certificate: the name of one of the folder's certificates, whose exits are then used.
            policies: policies in place of those of the certificate or the run.
            prepack: layout of torch's weights (`weights.precision`). None: the fastest.
            device: a device of torch.
            threads: processor threads. For a run they are set for all of torch; otherwise they are
                those of onnxruntime or OpenVINO. None: those with which it was timed, or all.
            batch: number of texts per call, for engine="auto".
            long: how texts longer than the model reads are handled. None: refused, or as certified.
            check: answer the folder's canaries first; an error if an answer is not the certified
                one, as can happen on another processor.

        Raises:
            ConfigError: with all errors, for a damaged folder or settings that do not fit it.
        """
        given = {name: value for name, value in locals().items() if name != "cls"}
        # By name, since the steps know the subclasses, which know this class.
        model = import_module("eat_lightning.bundle.open").Opener(**given).model()
        if not isinstance(model, cls):
            raise ConfigError(f"run={path}: it opens as a {type(model).__name__}")
        return model

    @abstractmethod
    def record(self, split: Any, batch: int = 32, title: str = "") -> Record:
        """Record the logits of every head for every example of a split, without early exits.

        Args:
            split: a `Split`, or any object with `labels`, `lengths`, `text(row)` and `batch(rows)`.
        """

    @abstractmethod
    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Trace:
        """Answer one example (a text for each column), with the logits and the signals of all exits
        up to the one where it leaves.
        """

    @property
    @abstractmethod
    def point(self) -> Point:
        """The point at which it answers."""

    @abstractmethod
    def at(self, point: Point) -> Self:
        """Return the same model with the methods and policies of a point. The weights are shared,
        and no certificate is in force.

        Raises:
            ConfigError: in one line, where its methods are fixed.
        """

    @property
    @abstractmethod
    def exit_rule(self) -> ExitRule:
        """The exit rule."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return everything that determines the answers. Certificates and references are valid for
        it only.
        """

    @property
    @abstractmethod
    def policies(self) -> Sequence[Policy]: ...

    @property
    def reasons(self) -> list[str]:
        """Names of the reasons for which an example may exit, beside those of every model."""
        return [*self.exit_rule.reasons]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def table(self) -> DataFrame:
        """All candidates that `eat adapt` tried, one per row."""
        from pandas import json_normalize

        return json_normalize([{"name": each.name, **each.as_dict()} for each in self.candidates])

    def read_long(self, long: LongTexts) -> None:
        """Set how long texts are read.

        Raises:
            ConfigError: for a setting that this model does not support.
        """
        Faults(long.faults(self.kind, self.labels, self.max_length)).check()
        self.reader = replace(self.reader, long=long)

    def read_one(self, text: Sequence[str]) -> ReadText:
        """Read a text that fits or may be truncated. Raises ConfigError for any other."""
        [read] = self.reader([text])
        if len(read.windows) != 1:
            why = read.refused or f"a text must fit in one window, got {len(read.windows)}"
            raise ConfigError(f"text: {why}")
        return read

    def classify(self, texts: Sequence[Any], batch: int = 32) -> list[dict[str, Any]]:
        """Answer texts, or pairs of them: label, confidence, depth, exit reason, retention.

        For a text that ran all layers, the confidence is the pipeline's `score`; for one that left
        early it is only near it. A text that is refused for its length has `error` alone.

        Raises:
            ValueError: for a reranker, or for texts that do not fit the model.
        """
        if self.ranks:
            raise ValueError(f"folder={self.folder} is a reranker: call rank(query, texts)")
        if isinstance(texts, str) or None in texts:
            got = "one text" if isinstance(texts, str) else "None among them"
            raise ValueError(f"texts must be a list of texts, or of pairs, got {got}")
        rows = [[text] if isinstance(text, str) else list(text) for text in texts]
        wanted = len(self.columns)
        if wrong := [row for row in rows if len(row) != wanted]:
            raise ValueError(f"each example must have {wanted} texts, got {len(wrong[0])}")
        groups = [rows[i : i + batch] for i in range(0, len(rows), batch)]
        return [answer for group in groups for answer in self.answer(group)]

    def rank(
        self, query: str, texts: Sequence[str], keep: int | None = 10, template: str = "{}"
    ) -> list[RankedCandidate]:
        """Rank candidates, best first. Pairs that are too long are cut.

        Args:
            keep: number of best candidates to return; None: all of them, although the certificate
                covers only as many as it was made for.
            template: a sentence into which each candidate is inserted, such as "This example is
                {}." for labels.

        Raises:
            ValueError: for a classifier.
        """
        if not self.ranks:
            raise ValueError(f"folder={self.folder} is a classifier: call classify(texts)")
        if not texts:
            return []
        found = self.answer([[query, template.format(text)] for text in texts])
        ranked = [
            RankedCandidate(index, answer["score"], answer["depth"])
            for index, answer in enumerate(found)
        ]
        return sorted(ranked, key=lambda each: (-each.depth, -each.score))[:keep]

    def save(self, folder: str | Path) -> None:
        """Copy its folder to a new one. FileExistsError where there is one."""
        Bundle(self.folder).copy(Path(folder))
