"""Test whether two builds of one classifier agree, with a stated confidence.

Shapes: N texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.answer_kind import MULTI, SCORE, MultiLabel, Score, SingleLabel
from eat_lightning.data.unlabelled import Texts, counted, read_texts
from eat_lightning.deploy.verify.answers import Answer, Answers, aligned
from eat_lightning.deploy.verify.builds import (
    Batch,
    Kept,
    Source,
    batches_of,
    is_file,
    open_source,
    rows_for,
    rows_of_file,
)
from eat_lightning.deploy.verify.plan import Build, VerifySettings
from eat_lightning.deploy.verify.server import Row, ServerDied
from eat_lightning.errors import ConfigError
from eat_lightning.record.claim import Claim, MeanLoss, Tally, tallied
from eat_lightning.record.same_answer import SameAnswer

SHOWN = 20  # texts whose answer changed
HOLDS, FAILS, UNKNOWN = 0, 1, 2  # statuses
KEPT = "{}.part.jsonl"  # what a server answered, until all is there


@dataclass(frozen=True)
class ChangedText:
    """A text with different answers."""

    texts: Row
    old: Answer
    new: Answer


@dataclass(frozen=True)
class Verification:
    """Result of a comparison.

    Args:
        old, new: the models, by the given names.
        texts: the compared texts; `line` has the numbers of texts read and left out.
        tallies: of each requirement, all texts first.
        parts: counts for the texts of each class under `old`, and for each direction of change.
        classes: changed answers by the class before and after.
        answers: of both models, by old and new.
        changed_N: True for texts whose answer changed.
        what: name of a changed answer.
    """

    old: str
    new: str
    texts: Texts
    tallies: Sequence[Tally | MeanLoss]
    parts: dict[str, Tally]
    classes: Counter[tuple[str, str]]
    answers: dict[str, Answers]
    changed_N: np.ndarray
    what: str

    @property
    def changed(self) -> list[ChangedText]:
        """Texts with different answers, with both answers."""
        old, new = (each.found for each in self.answers.values())
        rows = np.flatnonzero(self.changed_N).tolist()
        return [ChangedText(self.texts.rows[row], old[row], new[row]) for row in rows]

    @property
    def status(self) -> int:
        """0: the models agree; 1: they do not; 2: more texts are needed to decide."""
        if any(tally.fails_among(len(self.tallies)) for tally in self.tallies):
            return FAILS
        return HOLDS if all(tally.holds for tally in self.tallies) else UNKNOWN

    @property
    def holds(self) -> bool:
        """True if all requirements are certified."""
        return self.status == HOLDS

    @property
    def bound(self) -> float:
        """Upper bound on the share of changed answers, with the requested confidence."""
        return self.tallies[0].bound

    @property
    def needed(self) -> int | None:
        """Number of texts that would certify the requirements at the observed rates; None if no
        number would.
        """
        needed = [tally.needed for tally in self.tallies]
        return None if None in needed else max(filter(None, needed))

    def as_dict(self) -> dict[str, Any]:
        """Return the result in plain values, with the first texts whose answer changed."""
        return {
            "status": self.status,
            "holds": self.holds,
            "old": self.old,
            "new": self.new,
            "texts": self.texts.line,
            "needed": self.needed,
            "claims": [plain(tally) | {"level": tally.claim.level} for tally in self.tallies],
            "parts": {name: plain(tally) for name, tally in self.parts.items()},
            "classes": [{"old": a, "new": b, "num": num} for (a, b), num in self.classes.items()],
            "changed": [self.plain(each) for each in self.changed[:SHOWN]],
        }

    def plain(self, changed: ChangedText) -> dict[str, str]:
        """Return a text by its columns, with both answers."""
        return {
            **self.texts.named(changed.texts),
            **{"old": str(changed.old), "new": str(changed.new)},
        }


def plain(tally: Tally | MeanLoss) -> dict[str, Any]:
    about = {"of": tally.claim.of, "num": tally.num, "changed": tally.changed}
    about["share"] = tally.share
    return about | {"at_most": tally.bound, "confidence": tally.claim.confidence}


def verified(plan: VerifySettings, given: Sequence[Any] | None = None) -> Verification:
    """Compare two builds.

    Args:
        given: texts, or pairs of them, instead of a file.

    Raises:
        ConfigError: in one line, where they cannot be compared.
    """
    texts = texts_of(plan, given).without_near_doubles()
    if not len(texts):
        raise ConfigError(f"texts: there are none ({texts.line})")
    # Both are opened before either is asked, and files are read first, so that errors come first.
    sources = {key: open_source(key, plan, texts) for key, _ in plan.builds}
    known = {key: source.about for key, source in sources.items() if source.kind is not None}
    for key in sorted(sources, key=lambda key: not is_file(getattr(plan, key))):
        known[key] = answers_of(key, plan, texts, sources[key])
        if len(known) == len(sources):
            aligned(known["old"], known["new"], plan.map or {})
    return compared(plan, texts, *aligned(known["old"], known["new"], plan.map or {}))


def texts_of(plan: VerifySettings, given: Sequence[Any] | None) -> Texts:
    """Return the given texts or, without any, those of the answer files."""
    source = plan.texts if given is None else given
    if source is not None:
        return read_texts(source, plan.columns, plan.most)
    columns = plan.columns or ["text"]
    files = {f"{key}={build.model}": build.model for key, build in plan.builds if is_file(build)}
    found = {where: rows_of_file(where, Path(str(path)), columns) for where, path in files.items()}
    if not found:
        raise ConfigError("texts must name a file or a folder of texts: texts=...")
    first, *others = found.values()
    for other in others:
        if first.keys() != other.keys():
            only = f"{len(first.keys() - other.keys()):,} and {len(other.keys() - first.keys()):,}"
            names = " and ".join(found)
            within = first.keys() <= other.keys(), other.keys() <= first.keys()
            path = next((p for p, fits in zip(files.values(), within, strict=True) if fits), "...")
            raise ConfigError(
                f"{names} have {only} texts of their own: texts={path} names those to compare"
            )
    return Texts.of([*first], columns, plan.most)


def answers_of(key: str, plan: VerifySettings, texts: Texts, source: Source) -> Answers:
    """Return the answers of one model to all texts."""
    rows = asked(source, batches_of(texts.rows, plan.batch), key, plan)
    found = [rows[row] for row in texts.rows]
    return Answers.read(source.where, found, source.labels, source.kind)


def asked(source: Source, batches: Sequence[Batch], key: str, plan: VerifySettings) -> dict:
    """Return rows by text.

    Raises:
        ConfigError: where a server stops answering; its answers so far are kept in `to`.
    """
    build: Build = getattr(plan, key)
    kept = None
    try:
        if build.is_server and plan.to is not None:
            kept = Kept(Path(plan.to, KEPT.format(key)), {"model": build.model, "api": build.api})
        return rows_for(source, batches, kept)
    except OSError as error:
        raise ConfigError(f"to={plan.to}: cannot be written ({error.strerror})") from None
    except ServerDied as error:
        again = "to=<folder> would keep what it answers"
        if kept is not None:
            again = f"{len(kept.rows):,} answers are kept, and the same command resumes"
        raise ConfigError(f"{error}: {again}") from None


def same_answer(plan: VerifySettings, old: Answers, new: Answers) -> SameAnswer:
    """Return the criterion for equal answers. Raises ConfigError for scores that cannot be
    compared.
    """
    labels = [*dict.fromkeys([*old.names, *new.names])]
    if old.problem_type != SCORE:
        kind = MultiLabel if old.problem_type == MULTI else SingleLabel
        return SameAnswer(kind(len(labels)), labels)
    usual = next((each.kind for each in (old, new) if each.kind), Score())
    named = plan.tolerance is not None or bool(plan.cuts)
    kind = Score(1, plan.tolerance, tuple(plan.cuts)) if named else usual
    if not kind.comparable:
        message = "they answer with scores: give tolerance=... within which one stays the same"
        raise ConfigError(f"{message}, or cuts=[...] whose sides count")
    return SameAnswer(kind, [])


def compared(plan: VerifySettings, texts: Texts, old: Answers, new: Answers) -> Verification:
    """Count changed answers. A text refused by one model counts as changed, one refused by both is
    left out.
    """
    same = same_answer(plan, old, new)
    named = [("per_class", name) for name in plan.per_class or {}]
    named += [("positive", plan.positive)] if plan.positive is not None else []
    for key, name in named:
        if name not in same.labels:
            among = f"among {', '.join(same.labels)}" if same.labels else "none, of a score"
            raise ConfigError(f"{key} must name {among}, got {name}")
    old_NC, new_NC = old.numbers(same.labels), new.numbers(same.labels)
    counts_N = old.answered_N | new.answered_N
    both_N = old.answered_N & new.answered_N
    changed_N = np.where(both_N, same.changed(old_NC, new_NC), counts_N)
    classes = {name: rows_N & old.answered_N for name, rows_N in same.groups(old_NC).items()}
    level = plan.claims[0].level

    def tally(of: str, rows_N: np.ndarray, lost_N: np.ndarray) -> Tally:
        claim = Claim("disagreement", level, plan.confidence, of=of)
        return Tally(claim, int(rows_N.sum()), int((rows_N & lost_N).sum()))

    parts = [tally(f"{name} in old", rows_N, changed_N) for name, rows_N in classes.items()]
    for name, rows_N, lost_N in directions(plan.positive, same, old_NC, new_NC):
        parts.append(tally(name, rows_N & both_N, lost_N & changed_N))
    refused = {"refused by both": int((~counts_N).sum())}
    refused["refused by one of the two, and so changed"] = int((counts_N & ~both_N).sum())
    return Verification(
        old=plan.old.title,
        new=plan.new.title,
        texts=replace(texts, line=texts.line + counted(refused)),
        tallies=tallied(plan.claims, changed_N[counts_N], masked(classes, counts_N)),
        parts={each.claim.of: each for each in parts},
        classes=same.class_changes(old_NC[both_N], new_NC[both_N]),
        answers={"old": old, "new": new},
        changed_N=changed_N,
        what=same.changes,
    )


def masked(groups: Mapping[str, np.ndarray], rows_N: np.ndarray) -> dict[str, np.ndarray]:
    return {name: group_N[rows_N] for name, group_N in groups.items()}


def directions(
    positive: str | None, same: SameAnswer, old_NC: np.ndarray, new_NC: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the directions of change: name, texts that can change this way, and those that did."""
    if not same.labels:
        up_N, every_N = new_NC[:, 0] > old_NC[:, 0], np.ones(len(old_NC), bool)
        yield from (("higher in new", every_N, up_N), ("lower in new", every_N, ~up_N))
    elif positive is not None:
        was_N, is_N = same.groups(old_NC)[positive], same.groups(new_NC)[positive]
        yield f"permissive: {positive} in old, not in new", was_N, ~is_N
        yield f"strict: {positive} in new, not in old", ~was_N, is_N
