"""Sameness of answers: the one notion that agreement, choice and certificate stand on.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eat_lightning.answer_kind import SINGLE, TITLES, AnswerKind, kind_of
from eat_lightning.errors import ConfigError


@dataclass(frozen=True)
class SameAnswer:
    """Compares the logits of an adapted classifier with the original's.

    Args:
        kind: says when two answers are the same.
        labels: names of the classes.
    """

    kind: AnswerKind
    labels: Sequence[str]

    def changed(
        self, original_NC: Float[np.ndarray, "n c"], logits_NC: Float[np.ndarray, "n c"]
    ) -> Bool[np.ndarray, " n"]:
        return ~self.kind.same(original_NC, logits_NC)

    def groups(self, original_NC: Float[np.ndarray, "n c"]) -> Mapping[str, Bool[np.ndarray, " n"]]:
        """Give the texts that the original answers with each class."""
        answer_N = self.kind.numbered(original_NC, original_NC)
        return {label: answer_N == number for number, label in enumerate(self.labels)}

    def shown(self, logits_C: Float[np.ndarray, " c"]) -> str:
        """Write an answer for a person."""
        (answer,) = self.kind.printed(logits_C[None], self.labels)
        return f"{answer['label']} ({answer['confidence']:.2f})"


def same_answer_of(config: Mapping[str, Any], num_labels: int, where: object) -> SameAnswer:
    """Choose the notion by a classifier's config.json. ConfigError for a kind that is not served.

    Args:
        num_labels: rows of the classifier's weights.
    """
    try:
        kind = kind_of(config, num_labels)
    except ValueError as error:
        raise ConfigError(f"model={where}: {error}") from None
    if kind.problem_type != SINGLE:
        title = TITLES[kind.problem_type]
        raise ConfigError(f"model={where}: a model that answers with {title} cannot be adapted yet")
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
