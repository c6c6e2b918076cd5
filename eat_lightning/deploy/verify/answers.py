"""Answers of any model in a common format: from an engine, a server, or a file.

A row is a dict with `answer` (or `label`), `answers` (or `labels`), `probabilities` by label, or
`score`; or with `error` if there is no answer. Shapes: N texts, C classes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eat_lightning.answer_kind import MULTI, SCORE, SINGLE, TITLES, AnswerKind
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.text_io import refusal
from eat_lightning.validation import did_you_mean

ANSWERS = ("answer", "answers", "label", "labels", "probabilities", "score", "error")
OF_CLASSES = ANSWERS[:5]
KEYS = (*ANSWERS, "confidence")
UNREADABLE = KeyError, TypeError, ValueError, AttributeError
ONE = 0.02  # probabilities of classes sum to 1 within it; those of several labels need not


@dataclass(frozen=True)
class Answer:
    """One answer.

    Args:
        labels: the class, or the set of labels; empty for a score.
        value: the score, or the probability of the class; None: unknown.
        refused: why there is no answer; "" where there is one.
        depth: of a reranker's score; candidates that got deeper are ranked first.
    """

    labels: tuple[str, ...] = ()
    value: float | None = None
    refused: str = ""
    depth: int = 0

    def __str__(self) -> str:
        if self.refused:
            return f"refused: {self.refused}"
        name = ", ".join(self.labels)
        if self.value is None:
            return name or "none"
        return f"{name} ({self.value:.2f})" if name else f"{self.value:.3f}"


@dataclass(frozen=True)
class Answers:
    """Answers of one model to the same texts in the same order.

    Args:
        labels: all labels of the model; None: only those that occur are known.
        kind: for models of this package; None: unknown.
        rows: the answers, as stored in a file.
    """

    where: str
    found: list[Answer]
    problem_type: str
    labels: Sequence[str] | None
    kind: AnswerKind | None = None
    rows: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def read(
        cls,
        where: str,
        rows: Sequence[Mapping[str, Any]],
        labels: Sequence[str] | None = None,
        kind: AnswerKind | None = None,
    ) -> Answers:
        """Parse rows. Raises ConfigError, in one line, for a row without an answer."""
        given = [row for row in rows if not refusal(row)]
        if not given:
            why = refusal(rows[0]) if rows else "there are none"
            raise ConfigError(f"{where}: not one text was answered ({one_line(why, 120)})")
        problem_type = kind.problem_type if kind else problem_type_of(where, given)
        try:
            found = [read_one(row, problem_type) for row in rows]
        except UNREADABLE as error:
            why = one_line(error, 80)
            raise ConfigError(f"{where}: an answer cannot be read ({why})") from None
        if labels is None and has(given, "probabilities"):
            labels = list(dict.fromkeys(name for row in given for name in probabilities(row)))
        kept = [{key: row[key] for key in KEYS if row.get(key) is not None} for row in rows]
        return cls(where, found, problem_type, labels, kind, kept)

    @property
    def names(self) -> list[str]:
        """The known labels."""
        seen = {name for answer in self.found for name in answer.labels}
        return [*(self.labels or sorted(seen))]

    @property
    def answered_N(self) -> np.ndarray:
        return np.array([not answer.refused for answer in self.found])

    def renamed(self, names: Mapping[str, str]) -> Answers:
        """Return the answers with other label names."""

        def new(labels: Sequence[str]) -> tuple[str, ...]:
            return tuple(names.get(label, label) for label in labels)

        found = [replace(answer, labels=new(answer.labels)) for answer in self.found]
        return replace(self, found=found, labels=None if self.labels is None else new(self.labels))

    def numbers(self, labels: Sequence[str]) -> np.ndarray:
        """Return answers as logits (N x C) that an `AnswerKind` reads in the same way: 1 for
        predicted labels and -1 for others, or the score; 0 without an answer.
        """
        if self.problem_type == SCORE:
            return np.array([[answer.value or 0.0] for answer in self.found])
        place = {label: number for number, label in enumerate(labels)}
        numbers_NC = np.full((len(self.found), len(labels)), -1.0)
        for row, answer in enumerate(self.found):
            numbers_NC[row, [place[label] for label in answer.labels]] = 1.0
        numbers_NC[~self.answered_N] = 0.0
        return numbers_NC


def has(rows: Sequence[Mapping[str, Any]], *keys: str) -> bool:
    return any(row.get(key) is not None for row in rows for key in keys)


def problem_type_of(where: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the kind of answers in rows. Raises ConfigError where there are none."""
    if has(rows, "answers", "labels"):
        return MULTI
    if has(rows, "answer", "label"):
        return SINGLE
    if has(rows, "probabilities"):
        sums = [sum(probabilities(row).values()) for row in rows]
        return SINGLE if all(abs(total - 1) < ONE for total in sums) else MULTI
    if has(rows, "score"):
        return SCORE
    keys = one_line(", ".join(rows[0]), 80)
    raise ConfigError(f"{where}: needs answer, answers, score or probabilities, has only {keys}")


def read_one(row: Mapping[str, Any], kind: str) -> Answer:
    """Parse a row. Raises KeyError, TypeError or ValueError for a row of another kind."""
    if refusal(row):
        return Answer(refused=one_line(refusal(row)))
    if kind == SCORE:
        return Answer(value=number(row["score"]), depth=row.get("depth", 0))
    sure = row.get("confidence")
    sure = None if sure is None else number(sure)
    several, one = (first(row, *keys) for keys in (("answers", "labels"), ("answer", "label")))
    if kind == MULTI:
        if several is None:
            several = [name for name, share in probabilities(row).items() if share > 0.5]
        several = json.loads(several) if isinstance(several, str) else several
        return Answer(tuple(sorted(map(str, several))), sure)
    if one is None:
        one, sure = max(probabilities(row).items(), key=lambda pair: pair[1])
    return Answer((str(one),), sure)


@dataclass(frozen=True)
class FileRow:
    """A row of a file of answers.

    Args:
        number: its place there; the first is 1.
        values: what is read.
        others: names of the other columns.
    """

    number: int
    values: Mapping[str, Any]
    others: Sequence[str] = ()


def check_readable(where: str, rows: Sequence[FileRow]) -> None:
    """Raise ConfigError, in one line, for a row of a file that cannot be read."""
    given = [row.values for row in rows if not refusal(row.values)]
    try:
        kind = problem_type_of(where, given) if given else None
    except UNREADABLE:
        kind = SINGLE  # of probabilities; the row is found below
    for row in rows if kind else ():
        try:
            read_one(row.values, str(kind))
        except UNREADABLE as error:
            raise ConfigError(f"{where}: row {row.number}: {one_line(error, 80)}") from None


def tell_misspelt(where: str, rows: Sequence[FileRow]) -> None:
    """Say that scores are read where another column is nearly named as answers are."""
    if has([row.values for row in rows], *OF_CLASSES):
        return
    for name in rows[0].others if rows else ():
        if near := did_you_mean(name, OF_CLASSES):
            print(f"note: {where}: column {name} is not read{near}", file=sys.stderr)


def first(row: Mapping[str, Any], *keys: str) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def number(value: Any) -> float:
    """Parse a finite number. Raises ValueError for anything else."""
    if not np.isfinite(made := float(value)):
        raise ValueError(f"{value} is not finite")
    return made


def probabilities(row: Mapping[str, Any]) -> dict[str, float]:
    given = row["probabilities"]
    given = json.loads(given) if isinstance(given, str) else given
    return {str(name): number(share) for name, share in given.items() if share is not None}


def aligned(old: Answers, new: Answers, names: Mapping[str, str]) -> tuple[Answers, Answers]:
    """Return both with the same label names.

    Raises:
        ConfigError: in one line, where names cannot be mapped.
    """
    if old.problem_type != new.problem_type:
        kinds = [f"{each.where} gives {TITLES[each.problem_type]}" for each in (old, new)]
        raise ConfigError(", and ".join(kinds))
    known = {*old.names, *new.names}
    if (unknown := [name for name in names if name not in known]) and old.labels and new.labels:
        raise ConfigError(f"map must name labels, among {', '.join(sorted(known))}: {unknown[0]}")
    old, new = old.renamed(names), new.renamed(names)
    if any(mismatches(old, new)):
        given = [f"{each.where} has {one_line(', '.join(each.names), 80)}" for each in (old, new)]
        example = f"map={{{new.names[0]}: {old.names[0]}, ...}}"
        raise ConfigError(f"labels differ: {', '.join(given)}: {example} says which are the same")
    return old, new


def mismatches(old: Answers, new: Answers) -> Iterator[bool]:
    """Yield the conditions under which the labels of the two models cannot be the same."""
    ours, theirs = {*old.names}, {*new.names}
    if old.problem_type == SCORE:
        return
    yield bool(old.labels and not theirs <= ours)
    yield bool(new.labels and not ours <= theirs)
    yield bool(ours and theirs and not ours & theirs)
