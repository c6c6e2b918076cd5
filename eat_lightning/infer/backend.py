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
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import Joiner, LongTexts, Reader, ReadText, TokenWindow
from eat_lightning.model.policy import Policy
from eat_lightning.model.reason import Reason
from eat_lightning.text_io import About, AnswerTrace, Texts, answer_lines

if TYPE_CHECKING:
    from eat_lightning.infer.recorded import Recorded

Source = str | None  # None: whoever has no exits of its own
NOBODY: frozenset[Source] = frozenset()
Gone = tuple[np.ndarray, AnswerTrace, AnswerTrace]


@dataclass(frozen=True)
class AnswerRequest:
    """Examples of one source that are answered together.

    Args:
        source: a key of `Backend.by_source`.
        windows: the tokens of each.
        about: facts on each, for policies.
        deep: nobody leaves early, and the answers say `fallback`.
        extra: policies in addition to the source's.
    """

    source: Source
    windows: Sequence[TokenWindow]
    about: About
    deep: bool = False
    extra: Sequence[Policy] = ()


@dataclass(frozen=True)
class Left:
    """Examples of one source that left together: their places in the batch, and their answers.

    Args:
        answers: {"error": why} for a text that is too long and refused.
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
    def run(self, request: AnswerRequest) -> Iterator[Gone]:
        """Give at each exit the rows (B) that left there, their trace, and `Left.exits`."""

    @abstractmethod
    def identity(self, source: Source = None) -> dict[str, Any]:
        """Return the facts that decide a source's answers, for which certificates and references
        are valid."""

    @abstractmethod
    def policies(self, source: Source = None) -> Sequence[Policy]: ...

    def read_long(self, long: LongTexts) -> None:
        """Read long texts so from here on. ConfigError with what does not go with this model."""
        if faults := long.faults(self.kind, self.labels, self.max_length):
            raise ConfigError.of(faults)
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
        self,
        texts: Texts,
        about: About | None = None,
        deep: frozenset[Source] = NOBODY,
        reader: Reader | None = None,
    ) -> Iterator[Left]:
        """Answers as soon as their examples leave; long texts come after those that fit.

        Args:
            about: what is known of each, such as its source or mime.
            deep: of these sources nobody leaves early.
            reader: in place of the backend's.
        """
        about = [{} for _ in texts] if about is None else about
        reader = reader or self.reader
        read = reader(texts)
        for source, places in self.places(about).items():
            if refused := [i for i in places if read[i].refused]:
                blank = AnswerTrace.blank(len(refused), self.kind.width, self.num_layers, {})
                errors = [{"error": read[i].refused} for i in refused]
                yield Left(source, refused, errors, blank, blank)
            if fit := [i for i in places if len(read[i].windows) == 1]:
                windows, known = [read[i].windows[0] for i in fit], [about[i] for i in fit]
                request = AnswerRequest(source, windows, known, source in deep)
                for rows_B, trace, exits in self.run(request):
                    left = [fit[row] for row in rows_B.tolist()]
                    yield self.left(source, left, read, trace, exits)
            joiner = Joiner(reader.long, self.kind, self.labels)
            for i in [i for i in places if len(read[i].windows) > 1]:
                yield self.left(
                    source, [i], read, *self.joined(joiner, source, read[i], about[i], deep)
                )

    def joined(
        self,
        joiner: Joiner,
        source: Source,
        text: ReadText,
        known: Mapping[str, str],
        deep: frozenset[Source],
    ) -> tuple[AnswerTrace, AnswerTrace]:
        """The trace of a text of several windows, and `Left.exits`."""
        extra, is_deep = (FullDepthIfFound(joiner),), source in deep

        def run(windows: Sequence[TokenWindow]) -> Iterator[Gone]:
            about = [known] * len(windows)
            return self.run(AnswerRequest(source, windows, about, is_deep, extra))

        return joiner.read(text.windows, run)

    def left(
        self,
        source: Source,
        places: list[int],
        read: Sequence[ReadText],
        trace: AnswerTrace,
        exits: AnswerTrace,
    ) -> Left:
        """Print the answers, each with the sizes of its text."""
        answers = trace.answers(self.kind, self.labels)
        for place, answer in zip(places, answers, strict=True):
            answer |= read[place].sizes
        return Left(source, places, answers, trace, exits)

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
