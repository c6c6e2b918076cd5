"""When an adapted classifier's answer is the original's: used by agreement, choice and certificate.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eat_lightning.answer_kind import MULTI, SCORE, SINGLE, AnswerKind, Score, kind_of
from eat_lightning.errors import ConfigError


@dataclass(frozen=True)
class SameAnswer:
    """Compares the logits of an adapted classifier with the original's.

    Args:
        kind: kind of the answers, which defines when two are the same.
        labels: names of the classes; empty for a score.
    """

    kind: AnswerKind
    labels: Sequence[str]

    def changed(
        self, original_NC: Float[np.ndarray, "n c"], logits_NC: Float[np.ndarray, "n c"]
    ) -> Bool[np.ndarray, " n"]:
        """Return a mask of the texts whose answer differs from the original's."""
        return ~self.kind.same(original_NC, logits_NC)

    @property
    def changes(self) -> str:
        """A change of answers in words, such as "answers change"."""
        if not isinstance(self.kind, Score):
            several = self.kind.problem_type == MULTI
            return "sets of labels change" if several else "answers change"
        if self.kind.cuts:
            return f"scores change sides of {', '.join(f'{cut:g}' for cut in self.kind.cuts)}"
        return f"scores move by more than {self.kind.tolerance:g}"

    @property
    def title(self) -> str:
        """The kind of answers in words, such as "classes yes, no"."""
        if isinstance(self.kind, Score):
            return "a score"
        more = f" and {len(self.labels) - 4} more" if len(self.labels) > 4 else ""
        several = "any of " if self.kind.problem_type == MULTI else ""
        return f"classes {several}{', '.join(self.labels[:4])}{more}"

    def groups(self, original_NC: Float[np.ndarray, "n c"]) -> Mapping[str, Bool[np.ndarray, " n"]]:
        """Return, by class, a mask of the texts that the original answers with it, alone or among
        others."""
        if self.kind.problem_type == MULTI:
            return {label: original_NC[:, c] > 0 for c, label in enumerate(self.labels)}
        answer_N = self.kind.numbered(original_NC, original_NC)
        return {label: answer_N == number for number, label in enumerate(self.labels)}

    def class_changes(
        self, original_NC: Float[np.ndarray, "n c"], logits_NC: Float[np.ndarray, "n c"]
    ) -> Counter[tuple[str, str]]:
        """Count changed answers by (class before, class after); empty unless a text has one
        class."""
        if self.kind.problem_type != SINGLE:
            return Counter()
        before, after = self.groups(original_NC), self.groups(logits_NC)
        pairs = ((a, b) for a in self.labels for b in self.labels if a != b)
        return +Counter({(a, b): int((before[a] & after[b]).sum()) for a, b in pairs})

    def shown(self, logits_C: Float[np.ndarray, " c"]) -> str:
        """Return an answer as a person reads it."""
        (answer,) = self.kind.printed(logits_C[None, : self.kind.num_labels], self.labels)
        if "score" in answer:
            return f"{answer['score']:.3f}"
        name = answer["label"] if "label" in answer else ", ".join(answer["labels"]) or "none"
        return f"{name} ({answer['confidence']:.2f})"


def same_answer_of(
    config: Mapping[str, Any],
    num_labels: int,
    where: object,
    tolerance: float | None = None,
    cuts: Sequence[float] = (),
) -> SameAnswer:
    """Return how answers of a classifier are compared. Raises ConfigError, in one line, if its
    config or the arguments are wrong.

    Args:
        config: the classifier's config.json.
        num_labels: rows of the classifier's weights.
        where: the classifier, as error messages name it.
        tolerance: difference up to which two scores are the same.
        cuts: numbers on whose same side two scores are the same.
    """
    about = {"answer": {"tolerance": tolerance, "cuts": [*cuts]}}
    try:
        kind = kind_of({**config, **about}, num_labels)
    except ValueError as error:
        raise ConfigError(f"model={where}: {error}") from None
    if kind.problem_type == SCORE:
        if not kind.comparable:
            message = "it answers with a score: give tolerance=... within which one stays the same"
            raise ConfigError(f"model={where}: {message}, or cuts=[...] whose sides count")
        return SameAnswer(kind, [])
    if tolerance is not None or cuts:
        given = f"cuts={[*cuts]}" if cuts else f"tolerance={tolerance:g}"
        raise ConfigError(f"{given} is for a score, and model={where} answers with classes")
    names = config.get("id2label")
    numbers = [str(number) for number in range(num_labels)]
    if names is None:
        return SameAnswer(kind, [f"LABEL_{number}" for number in numbers])
    found = [names.get(number) for number in numbers] if isinstance(names, dict) else []
    labels = [name for name in found if isinstance(name, str) and name.strip()]
    if len(set(labels)) < num_labels or len(names) != num_labels:
        message = f"id2label must name each of {num_labels} classes, got {names!s:.80}"
        raise ConfigError(f"model={where}: {message}")
    return SameAnswer(kind, labels)
