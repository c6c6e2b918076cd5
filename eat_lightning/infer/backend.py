"""The contract of whatever answers: a run in torch, or an export in onnxruntime or OpenVINO.

`predict`, `serve`, `drift`, `certify` and `attack` stand on it, and know of no other difference.

Shapes: B examples of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.text_io import About, AnswerTrace, Texts, answer_lines

if TYPE_CHECKING:
    from eat_lightning.infer.recorded import Recorded
    from eat_lightning.model.contracts import Policy

Source = str | None  # None: whoever has no exits of its own
NOBODY: frozenset[Source] = frozenset()


@dataclass(frozen=True)
class Left:
    """Examples of one source that left together: their places in the batch, and their answers.

    Args:
        trace: record of the answers, with the logits.
        exits: what the exits made of them or, where all ran every layer, would have made of them.
    """

    source: Source
    places: list[int]
    answers: list[dict[str, Any]]
    trace: AnswerTrace
    exits: AnswerTrace


@dataclass(frozen=True)
class Look:
    """One example as it left, and the guess of each exit on its path: logits and the rule's
    signals, by layer. exit: the rule that decided there."""

    left: Left
    guesses: dict[int, np.ndarray]
    signals: dict[int, np.ndarray]
    exit: Any

    @property
    def answer(self) -> dict[str, Any]:
        return self.left.answers[0]


class Backend(ABC):
    """A model ready to answer, and the folder it lies in. kind: of its answers. exits: layers where
    an example may leave, the last one included. max_length: tokens of a text, or of a pair, that it
    reads."""

    folder: Path
    columns: Sequence[str]
    labels: Sequence[str]
    kind: AnswerKind
    num_layers: int
    exits: list[int]
    max_length: int
    by_source: Mapping[Source, Any]  # whose exits differ; None stands for any other source

    @abstractmethod
    def record(self, split: Any, batch: int = 32, title: str = "") -> Recorded:
        """Every head's guess for every example of a split, with nobody leaving. split: a `Split`,
        or whatever has its `labels`, `lengths`, `text(row)` and `batch(rows)`."""

    @abstractmethod
    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Look:
        """Answer one example (a text for each column), with the guesses of the exits on its
        path."""

    @abstractmethod
    def run(
        self, source: Source, texts: Texts, about: About, deep: bool
    ) -> Iterator[tuple[np.ndarray, AnswerTrace, AnswerTrace]]:
        """At each exit who left there (rows B), their trace, and `Left.exits`. deep: nobody leaves
        early, and the answers say `fallback`."""

    @abstractmethod
    def identity(self, source: Source = None) -> dict[str, Any]:
        """Return the facts that decide a source's answers, for which certificates and references
        are valid."""

    @abstractmethod
    def policies(self, source: Source = None) -> Sequence[Policy]: ...

    @abstractmethod
    def cutting(self, side: str | None) -> AbstractContextManager[None]:
        """Cut texts that are too long at this side ("left", "right") in the context; None leaves
        the tokenizer's side."""

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def watched(self) -> list[Source]:
        """Sources with calibrated exits. Where some have exits of their own, whoever else comes
        runs every layer: nothing of that was calibrated."""
        return [source for source in self.by_source if source is not None] or [None]

    def places(self, about: About) -> dict[Source, list[int]]:
        """Places of the examples by their source, where it is a known one; None for the others."""
        found: dict[Source, list[int]] = {}
        for place, known in enumerate(about):
            found.setdefault(self.source_of(known), []).append(place)
        return found

    def source_of(self, known: Mapping[str, str]) -> Source:
        """An example's source where it is one with exits of its own, else None."""
        source = known.get("source")
        return source if source in self.by_source else None

    def stream(
        self, texts: Texts, about: About | None = None, deep: frozenset[Source] = NOBODY
    ) -> Iterator[Left]:
        """Answers as soon as their examples leave. about: what is known of each, such as its source
        or mime. deep: of these sources nobody leaves early."""
        about = [{} for _ in texts] if about is None else about
        for source, places in self.places(about).items():
            given = [texts[i] for i in places], [about[i] for i in places]
            for rows_B, trace, exits in self.run(source, *given, source in deep):
                answers = trace.answers(self.kind, self.labels)
                left = [places[row] for row in rows_B.tolist()]
                yield Left(source, left, answers, trace, exits)

    def answer(self, texts: Texts, about: About | None = None) -> list[dict[str, Any]]:
        """Answers in the order of the texts."""
        answers: list[dict[str, Any]] = [{} for _ in texts]
        for left in self.stream(texts, about):
            for place, answer in zip(left.places, left.answers, strict=True):
                answers[place] = answer
        return answers

    def __call__(self, lines: Sequence[bytes], first: int = 1) -> list[dict[str, Any]]:
        """An answer or an error for each line; `first` is the number of the first one."""
        return answer_lines(lines, first, self.columns, self.answer)
