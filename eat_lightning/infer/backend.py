"""The contract of whatever answers: a run in torch, or an export in onnxruntime or OpenVINO.

`predict`, `serve`, `drift`, `certify` and `attack` stand on it, and know of no other difference.

Shapes: B examples of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.long_texts import Joiner, LongTexts, Reader, ReadText, TokenWindow
from eat_lightning.model.policy import Policy
from eat_lightning.model.reason import Reason
from eat_lightning.text_io import About, AnswerTrace, Texts, answer_lines

if TYPE_CHECKING:
    from eat_lightning.infer.recorded import Recorded

Gone = tuple[np.ndarray, AnswerTrace, AnswerTrace]


@dataclass(frozen=True)
class AnswerRequest:
    """Examples that are answered together.

    Args:
        windows: the tokens of each.
        about: facts on each, for policies.
        deep: nobody leaves early, and the answers say `fallback`.
        extra: policies in addition to the backend's.
    """

    windows: Sequence[TokenWindow]
    about: About
    deep: bool = False
    extra: Sequence[Policy] = ()


@dataclass(frozen=True)
class Left:
    """Examples that left together: their places in the batch, and their answers.

    Args:
        answers: {"error": why} for a text that is too long and refused.
        trace: record of the answers, with the logits.
        exits: what the exits made of them or, where all ran every layer, would have made of them.
    """

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


class FullDepthIfFound(Policy):
    """Windows that would leave with the label that is looked for run every layer, so that many
    windows bring no more false alarms than full depth has."""

    def __init__(self, joiner: Joiner):
        self.joiner = joiner

    def reviews(
        self, reason_B: Any, logits_EBC: np.ndarray, inputs: Any, rows_B: np.ndarray
    ) -> np.ndarray:
        return np.where(self.joiner.found(logits_EBC[-1]), int(Reason.FALLBACK), reason_B)


class Backend(ABC):
    """A model ready to answer, and the folder it lies in. kind: of its answers. exits: layers where
    an example may leave, the last one included. max_length: tokens of a text, or of a pair, that it
    reads at once. reader: it refuses what is longer, until `read_long` names something else."""

    folder: Path
    columns: Sequence[str]
    labels: Sequence[str]
    kind: AnswerKind
    num_layers: int
    exits: list[int]
    max_length: int
    reader: Reader
    scales: Mapping[int, float] = {}  # of the logits that are printed, by the layer of the answer

    @abstractmethod
    def record(self, split: Any, batch: int = 32, title: str = "") -> Recorded:
        """Every head's guess for every example of a split, with nobody leaving. split: a `Split`,
        or whatever has its `labels`, `lengths`, `text(row)` and `batch(rows)`."""

    @abstractmethod
    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Look:
        """Answer one example (a text for each column), with the guesses of the exits on its
        path."""

    @abstractmethod
    def run(self, request: AnswerRequest) -> Iterator[Gone]:
        """Give at each exit the rows (B) that left there, their trace, and `Left.exits`."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the facts that decide the answers, for which certificates and references are
        valid."""

    @property
    @abstractmethod
    def policies(self) -> Sequence[Policy]: ...

    def read_long(self, long: LongTexts) -> None:
        """Read long texts so from here on. ConfigError with what does not go with this model."""
        Faults(long.faults(self.kind, self.labels, self.max_length)).check()
        self.reader = replace(self.reader, long=long)

    def read_one(self, text: Sequence[str]) -> ReadText:
        """Read a text that fits, or that may be cut. ConfigError for another one."""
        [read] = self.reader([text])
        if len(read.windows) != 1:
            why = read.refused or f"a text must fit in one window, got {len(read.windows)}"
            raise ConfigError(f"text: {why}")
        return read

    @property
    @abstractmethod
    def dtype(self) -> str:
        """In which its layers are computed: fp32, bf16 or int8."""

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def stream(
        self,
        texts: Texts,
        about: About | None = None,
        deep: bool = False,
        reader: Reader | None = None,
    ) -> Iterator[Left]:
        """Answers as soon as their examples leave; long texts come after those that fit.

        Args:
            about: what is known of each, such as its source or mime.
            deep: nobody leaves early.
            reader: in place of the backend's.
        """
        about = [{} for _ in texts] if about is None else about
        reader = reader or self.reader
        read = reader(texts)
        if refused := [i for i, text in enumerate(read) if text.refused]:
            blank = AnswerTrace.blank(len(refused), self.kind.width, self.num_layers, {})
            errors = [{"error": read[i].refused} for i in refused]
            yield Left(refused, errors, blank, blank)
        if fit := [i for i, text in enumerate(read) if len(text.windows) == 1]:
            windows, known = [read[i].windows[0] for i in fit], [about[i] for i in fit]
            for rows_B, trace, exits in self.run(AnswerRequest(windows, known, deep)):
                yield self.left([fit[row] for row in rows_B.tolist()], read, trace, exits)
        joiner = Joiner(reader.long, self.kind, self.labels)
        for i in [i for i, text in enumerate(read) if len(text.windows) > 1]:
            yield self.left([i], read, *self.joined(joiner, read[i], about[i], deep))

    def joined(
        self, joiner: Joiner, text: ReadText, known: Mapping[str, str], deep: bool
    ) -> tuple[AnswerTrace, AnswerTrace]:
        """The trace of a text of several windows, and `Left.exits`."""
        extra = (FullDepthIfFound(joiner),)

        def run(windows: Sequence[TokenWindow]) -> Iterator[Gone]:
            return self.run(AnswerRequest(windows, [known] * len(windows), deep, extra))

        return joiner.read(text.windows, run)

    def left(
        self,
        places: list[int],
        read: Sequence[ReadText],
        trace: AnswerTrace,
        exits: AnswerTrace,
    ) -> Left:
        """Print the answers, each with the sizes of its text."""
        trace = trace.scaled(self.scales) if self.scales else trace
        answers = trace.answers(self.kind, self.labels)
        for place, answer in zip(places, answers, strict=True):
            answer |= read[place].sizes
        return Left(places, answers, trace, exits)

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
