"""Texts of more tokens than a model reads: refused, cut by name, or read in windows.

Windows are by tokens and overlap. Each is an example for the model, and their answers are joined.
By numpy alone, and a tokenizer of `tokenizers` that is given. An export puts a copy of this file
beside its graphs.

Shapes: W windows of a text, C columns of logits, L layers, E exits so far.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

if TYPE_CHECKING or __package__:
    from eat_lightning.answer_kind import MULTI, SCORE, SINGLE, AnswerKind
    from eat_lightning.model.trace import Trace
    from eat_lightning.text_io import About, Texts, answer_lines
else:  # a copy beside an export's graphs; python -I does not look there by itself
    sys.path.insert(0, str(Path(__file__).parent))
    from answer_kind import MULTI, SCORE, SINGLE, AnswerKind
    from eat_trace import Trace
    from text_io import About, Texts, answer_lines

Mode = Literal["refuse", "windows", "cut"]
Join = Literal["any", "max", "mean"]
MODES, JOINS = get_args(Mode), get_args(Join)
LEAST_SIZE = 8  # tokens of a window
AT_ONCE = 256  # texts tokenized together: what a tokenizer gives beside ids is ten times their size
PACK_TOKENS = 2048  # of the windows that go through the model together, unless one alone has more


@dataclass(frozen=True)
class LongTexts:
    """Reading of texts that have more tokens than the model reads.

    Args:
        mode: refuse, windows, or cut (the rest is lost, and the answer says so).
        size: tokens of a window; None: as many as the model reads.
        overlap: tokens that two neighbours share; None: a quarter of the size.
        join: any (the first window where the label is found ends the text), max or mean.
        label: name of the label that is looked for; None: with several labels any of them.
    """

    mode: Mode
    size: int | None = None
    overlap: int | None = None
    join: Join = "any"
    label: str | None = None

    def described(self, max_length: int) -> str | None:
        """Describe windows in a line; None for texts that are read at once."""
        if self.mode != "windows":
            return None
        size, overlap = self.window(max_length)
        of = "" if self.label is None else f" of {self.label}"
        return f"of {size} tokens, {overlap} shared, {self.join}{of}"

    def window(self, max_length: int) -> tuple[int, int]:
        """Tokens of a text that is read at once, and those that two windows share."""
        size = self.size if self.mode == "windows" and self.size else max_length
        return size, size // 4 if self.overlap is None else self.overlap

    def faults(self, kind: AnswerKind, labels: Sequence[str], max_length: int) -> list[str]:
        """List what does not go with a model, one line each."""
        if self.mode != "windows":
            return []
        (size, _), found = self.window(max_length), []
        if not LEAST_SIZE <= size <= max_length:
            bound = f"{LEAST_SIZE}..{max_length}, the tokens that the model reads"
            found.append(f"windows.size must be in {bound}, got {size}")
        if self.overlap is not None and not 0 <= self.overlap <= size // 2:
            bound = f"0..{size // 2}, half of a window"
            found.append(f"windows.overlap must be in {bound}, got {self.overlap}")
        if self.join not in JOINS:
            found.append(f"windows.join must be one of {', '.join(JOINS)}, got {self.join}")
        if self.join == "any" and kind.problem_type == SCORE:
            found.append("windows.join=any looks for a label, and this model gives a score")
        named = kind.problem_type == SINGLE and self.join != "mean"
        if (named or self.label is not None) and self.label not in labels:
            found.append(
                f"windows.label must name the label to look for, one of "
                f"{', '.join(labels)}, got {self.label}"
            )
        return found


CUT, REFUSE = LongTexts("cut"), LongTexts("refuse")


class TokenWindow(NamedTuple):
    """Token ids and types of what the model reads at once."""

    ids: np.ndarray
    types: np.ndarray


@dataclass(frozen=True)
class ReadText:
    """A text, or a pair, as the model reads it.

    Args:
        windows: one for a text that fits; none for one that is refused.
        num_tokens: of the whole text, special tokens included.
        truncated: a part of it is not read.
        refused: why; "" where it is not.
    """

    windows: list[TokenWindow]
    num_tokens: int
    truncated: bool = False
    refused: str = ""

    @property
    def sizes(self) -> dict[str, Any]:
        """Facts that every answer has."""
        count = len(self.windows)
        return {"windows": count, "tokens": self.num_tokens, "truncated": self.truncated}


@dataclass(frozen=True)
class Reader:
    """Turns texts into what a model reads.

    Args:
        tokenizer: of `tokenizers`; its truncation is set here at each call.
        max_length: tokens that the model reads.
        side: where cut texts lose tokens, left or right.
        has_types: the model tells the texts of a pair apart by token types.
    """

    tokenizer: Any
    max_length: int
    side: str
    has_types: bool
    long: LongTexts = REFUSE

    def __call__(self, texts: Texts) -> list[ReadText]:
        starts = range(0, len(texts), AT_ONCE)
        return [text for i in starts for text in self.read_some(texts[i : i + AT_ONCE])]

    def read_some(self, texts: Texts) -> list[ReadText]:
        given = [text[0] if len(text) == 1 else tuple(text) for text in texts]
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        encoded = self.tokenizer.encode_batch(given)
        size, _ = self.long.window(self.max_length)
        return [
            ReadText([self.window(whole)], len(whole.ids))
            if len(whole.ids) <= size
            else self.too_long(each, whole)
            for each, whole in zip(given, encoded, strict=True)
        ]

    def too_long(self, given: Any, whole: Any) -> ReadText:
        count = len(whole.ids)
        if self.long.mode == "windows":
            return self.in_windows(given, whole)
        if self.long.mode == "refuse":
            bound = f"at most {self.max_length} tokens, got {count}"
            return ReadText(
                [],
                count,
                refused=f"a text must have {bound} (long=cut takes the first, long=windows all)",
            )
        self.tokenizer.enable_truncation(
            self.max_length, strategy="longest_first", direction=self.side
        )
        return ReadText([self.window(self.encode(given))], count, truncated=True)

    def in_windows(self, given: Any, whole: Any) -> ReadText:
        """Cut the longer text of a pair into windows, each beside the whole shorter one."""
        size, overlap = self.long.window(self.max_length)
        first, second = (whole.sequence_ids.count(number) for number in (0, 1))
        room = size - (len(whole.ids) - max(first, second))
        if room <= overlap:
            bound = f"leave more than {overlap} of {size} tokens for the longer one"
            why = f"the shorter text of a pair must {bound}, got {min(first, second)}"
            return ReadText([], len(whole.ids), refused=why)
        self.tokenizer.enable_truncation(
            size, stride=overlap, strategy="only_first" if first >= second else "only_second"
        )
        head = self.encode(given)
        windows = [self.window(each) for each in [head, *head.overflowing]]
        return ReadText(windows, len(whole.ids))

    def encode(self, given: Any) -> Any:
        return self.tokenizer.encode(*([given] if isinstance(given, str) else given))

    def window(self, encoding: Any) -> TokenWindow:
        ids = np.array(encoding.ids, np.int32)
        types = np.array(encoding.type_ids, np.int32) if self.has_types else np.zeros_like(ids)
        return TokenWindow(ids, types)


@dataclass(frozen=True)
class AnswerRequest:
    """Windows that are answered together.

    Args:
        about: facts on each, for policies.
        deep: nobody leaves early, and the answers say `fallback`.
        joiner: of the text whose windows these are; None: each is a text of its own.
    """

    windows: Sequence[TokenWindow]
    about: About
    deep: bool = False
    joiner: Joiner | None = None


@dataclass(frozen=True)
class Joiner:
    """Joins the answers of a text's windows into one."""

    long: LongTexts
    kind: AnswerKind
    labels: Sequence[str] = field(default_factory=list)

    @property
    def wanted(self) -> int | None:
        """The number of the label that is looked for."""
        return None if self.long.label is None else [*self.labels].index(self.long.label)

    def found(self, logits_WC: np.ndarray) -> np.ndarray:
        """Mark the windows (W) that answer with the label; a score or a mean looks for none."""
        if self.long.join == "mean" or self.kind.problem_type == SCORE:
            return np.zeros(len(logits_WC), bool)
        if self.kind.problem_type == MULTI:
            looked_for = slice(None) if self.wanted is None else [self.wanted]
            return np.any(logits_WC[:, looked_for] > 0, axis=-1)
        assert self.wanted is not None  # `LongTexts.faults` sees to it
        return np.equal(logits_WC.argmax(-1), self.wanted)

    def ends(self, logits_WC: np.ndarray) -> bool:
        """True where these windows, the first of a text, decide its answer."""
        return self.long.join == "any" and bool(self.found(logits_WC).any())

    def count(self, logits_WC: np.ndarray) -> int:
        """Count the windows of a text up to the one that ends it."""
        return int(self.found(logits_WC).argmax()) + 1 if self.ends(logits_WC) else len(logits_WC)

    def read(
        self, request: AnswerRequest, run: Callable[[AnswerRequest], Iterator[Trace]]
    ) -> Trace:
        """Run a text's windows in packs, and answer it.

        Windows behind the first one where the label is found do not count with join=any, whichever
        pack they are in: so an answer does not depend on the packs.
        """
        found: list[Trace] = []
        for pack in packs([len(window.ids) for window in request.windows]):
            together = [request.windows[i] for i in pack]
            about = [request.about[i] for i in pack]
            traces = run(replace(request, windows=together, about=about))
            found += [replace(trace, rows_B=trace.rows_B + pack[0]) for trace in traces]
            windows = Trace.together(found)
            # At full depth a window may be found that the exits would have missed: they read on.
            if self.ends(windows.logits_BC) and self.ends((windows.would or windows).logits_BC):
                break
        return self.joined(windows, np.zeros(len(windows), int))

    def joined(self, windows: Trace, text_W: np.ndarray) -> Trace:
        """Answer texts by their windows. A text has the depth and the reason of its deepest window,
        and the tokens of all that count; one of a single window is answered as that is.

        Args:
            text_W: the number of each window's text, ascending from 0.
        """
        if text_W[-1] + 1 == len(text_W):
            return windows  # of one window each
        logits, deepest, counted = [], [], []
        ends_B = np.flatnonzero(np.diff(text_W)) + 1
        for rows in np.split(np.arange(len(text_W)), ends_B):
            logits_WC = windows.logits_BC[rows]
            count = self.count(logits_WC)
            several = len(rows) > 1
            logits.append(self.logits(logits_WC[:count]) if several else logits_WC[0])
            deepest.append(rows[windows.depth_B[rows[:count]].argmax()])
            counted.append(rows[:count])
        parts = windows.take(np.concatenate(counted))
        tokens_LB = parts.tokens_LB
        if tokens_LB is not None:
            starts_B = np.cumsum([0, *map(len, counted[:-1])])
            tokens_LB = np.add.reduceat(tokens_LB, starts_B, axis=1)
        return replace(
            windows.take(np.array(deepest)),
            logits_BC=np.stack(logits),
            tokens_LB=tokens_LB,
            guesses={},
            signals={},
            rows_B=None,
            would=None if windows.would is None else self.joined(windows.would, text_W),
            parts=parts,
        )

    def logits(self, logits_WC: np.ndarray) -> np.ndarray:
        """Join logits: of the window that decides, or of the mean of the probabilities."""
        if self.long.join == "mean":
            return self.mean(logits_WC)
        if self.ends(logits_WC):
            return logits_WC[self.found(logits_WC).argmax()]
        if self.kind.problem_type == MULTI:
            return logits_WC.max(0)
        wanted = 0 if self.wanted is None else self.wanted
        return logits_WC[self.kind.probabilities(logits_WC)[:, wanted].argmax()]

    def mean(self, logits_WC: np.ndarray) -> np.ndarray:
        if self.kind.problem_type == SCORE:
            return logits_WC.mean(0)
        p_C = self.kind.probabilities(logits_WC.astype(np.float64)).mean(0).clip(1e-12, 1 - 1e-12)
        odds_C = p_C / (1 - p_C) if self.kind.problem_type == MULTI else p_C
        return np.log(odds_C).astype(logits_WC.dtype)


class Answerer(ABC):
    """Answers texts by a model. columns: of a text. labels: names of its classes. reader: it
    refuses what is too long, until it is given something else. scales: of the logits that are
    printed, by the layer of the answer."""

    columns: Sequence[str]
    labels: Sequence[str]
    kind: AnswerKind
    num_layers: int
    reader: Reader
    scales: Mapping[int, float] = {}

    @abstractmethod
    def run(self, request: AnswerRequest) -> Iterator[Trace]:
        """Answer windows: at each exit the trace of those that left there, with their places."""

    def stream(
        self,
        texts: Texts,
        about: About | None = None,
        deep: bool = False,
        reader: Reader | None = None,
    ) -> Iterator[Trace]:
        """Answers as soon as their examples leave; long texts come after those that fit.

        Args:
            about: what is known of each, such as its source or mime.
            deep: nobody leaves early.
            reader: in place of the model's.
        """
        about = [{} for _ in texts] if about is None else about
        reader = reader or self.reader
        read = reader(texts)
        if errors := {i: text.refused for i, text in enumerate(read) if text.refused}:
            nobody = Trace.blank(0, self.kind.width, self.num_layers, {})
            yield replace(nobody, rows_B=np.arange(0), errors=errors)
        if fit := [i for i, text in enumerate(read) if len(text.windows) == 1]:
            windows, known = [read[i].windows[0] for i in fit], [about[i] for i in fit]
            for trace in self.run(AnswerRequest(windows, known, deep)):
                yield placed(trace, [fit[row] for row in trace.rows_B.tolist()], read)
        joiner = Joiner(reader.long, self.kind, self.labels)
        for i in [i for i, text in enumerate(read) if len(text.windows) > 1]:
            windows = read[i].windows
            request = AnswerRequest(windows, [about[i]] * len(windows), deep, joiner)
            yield placed(joiner.read(request, self.run), [i], read)

    def printed(self, trace: Trace) -> dict[int, dict[str, Any]]:
        """Answers as a person reads them, and errors, by their place in the request."""
        errors = {place: {"error": why} for place, why in trace.errors.items()}
        trace = trace.scaled(self.scales) if self.scales else trace
        answers = trace.answers(self.kind, self.labels)
        return errors | dict(zip(trace.rows_B.tolist(), answers, strict=True))

    def answer(self, texts: Texts, about: About | None = None) -> list[dict[str, Any]]:
        """Answers in the order of the texts."""
        answers: dict[int, dict[str, Any]] = {}
        for trace in self.stream(texts, about):
            answers |= self.printed(trace)
        return [answers[place] for place in range(len(texts))]

    def __call__(self, lines: Sequence[bytes], first: int = 1) -> list[dict[str, Any]]:
        """An answer or an error for each line; `first` is the number of the first one."""
        return answer_lines(lines, first, self.columns, self.answer)


def placed(trace: Trace, places: Sequence[int], read: Sequence[ReadText]) -> Trace:
    """A trace of these places in a request, with the sizes of the texts there."""
    sizes = [read[place].sizes for place in places]
    return replace(trace, rows_B=np.array(places, int), sizes=sizes)


def packs(lengths: Sequence[int]) -> list[list[int]]:
    """Neighbours that go through the model together: memory does not grow with the text."""
    found: list[list[int]] = [[]]
    tokens = 0
    for place, length in enumerate(lengths):
        if found[-1] and tokens + length > PACK_TOKENS:
            found.append([])
            tokens = 0
        found[-1].append(place)
        tokens += length
    return found
