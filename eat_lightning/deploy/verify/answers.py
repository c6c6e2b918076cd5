"""Answers of any model in one shape: those of an engine, of a server, and of a file.

A row is a dict with `answer` (or `label`), `answers` (or `labels`), `probabilities` by label, or
`score`; or with `error`, where there is no answer. Shapes: N texts, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eat_lightning.answer_kind import MULTI, SCORE, SINGLE, TITLES, AnswerKind
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.text_io import refusal

KEYS = ("label", "labels", "answer", "answers", "probabilities", "score", "confidence", "error")
ONE = 0.02  # probabilities of classes sum to 1 within it; those of several labels need not


@dataclass(frozen=True)
class Answer:
    """One answer.

    Args:
        labels: the class, or the set of labels; none of a score.
        value: the score, or how sure the class is; None: not known.
        refused: why there is no answer; "" where there is one.
        depth: of a reranker's score: candidates that got deeper come first.
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
        labels: all that the model can give; None: only those that it gave are known.
        kind: as a model of ours has it; None: not known.
        rows: the answers as a file of answers has them.
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
        """Read rows. ConfigError, in one line, for one without an answer."""
        given = [row for row in rows if not refusal(row)]
        if not given:
            why = refusal(rows[0]) if rows else "there are none"
            raise ConfigError(f"{where}: not one text was answered ({one_line(why, 120)})")
        problem_type = kind.problem_type if kind else problem_type_of(where, given)
        try:
            found = [read_one(row, problem_type) for row in rows]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = one_line(error, 80)
            raise ConfigError(f"{where}: an answer cannot be read ({why})") from None
        if labels is None and has(given, "probabilities"):
            labels = list(dict.fromkeys(name for row in given for name in probabilities(row)))
        kept = [{key: row[key] for key in KEYS if row.get(key) is not None} for row in rows]
        return cls(where, found, problem_type, labels, kind, kept)

    @property
    def names(self) -> list[str]:
        """The labels that are known."""
        seen = {name for answer in self.found for name in answer.labels}
        return [*(self.labels or sorted(seen))]

    @property
    def answered_N(self) -> np.ndarray:
        return np.array([not answer.refused for answer in self.found])

    def renamed(self, names: Mapping[str, str]) -> Answers:
        """The same with other names of labels."""

        def new(labels: Sequence[str]) -> tuple[str, ...]:
            return tuple(names.get(label, label) for label in labels)

        found = [replace(answer, labels=new(answer.labels)) for answer in self.found]
        return replace(self, found=found, labels=None if self.labels is None else new(self.labels))

    def numbers(self, labels: Sequence[str]) -> np.ndarray:
        """Answers as logits (N x C) that an `AnswerKind` reads alike: 1 of a label that is given
        and -1 of another, or the score; 0 where there is no answer."""
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
    """The kind of answers that rows hold. ConfigError where they hold none."""
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
    """KeyError, TypeError or ValueError where the row is of another kind."""
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


def first(row: Mapping[str, Any], *keys: str) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def number(value: Any) -> float:
    """ValueError for what is no finite number."""
    if not np.isfinite(made := float(value)):
        raise ValueError(f"{value} is not finite")
    return made


def probabilities(row: Mapping[str, Any]) -> dict[str, float]:
    given = row["probabilities"]
    given = json.loads(given) if isinstance(given, str) else given
    return {str(name): number(share) for name, share in given.items() if share is not None}


def aligned(old: Answers, new: Answers, names: Mapping[str, str]) -> tuple[Answers, Answers]:
    """Both with the same names of labels. ConfigError, in one line, where these do not map."""
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
    """Whether labels of one cannot be those of the other, as far as they are known."""
    ours, theirs = {*old.names}, {*new.names}
    if old.problem_type == SCORE:
        return
    yield bool(old.labels and not theirs <= ours)
    yield bool(new.labels and not ours <= theirs)
    yield bool(ours and theirs and not ours & theirs)
