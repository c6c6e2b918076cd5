"""Sameness of answers: the one notion that agreement, choice and certificate stand on.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from eat_lightning.errors import ConfigError
from eat_lightning.text_io import softmax


class SameAnswer(ABC):
    """Compares the logits of an adapted classifier with the original's."""

    labels: Sequence[str]

    @abstractmethod
    def answers(self, logits_NC: Float[np.ndarray, "n c"]) -> Int[np.ndarray, " n"]:
        """Give a number for each text; equal numbers are the same answer."""

    @abstractmethod
    def groups(self, original_NC: Float[np.ndarray, "n c"]) -> Mapping[str, Bool[np.ndarray, " n"]]:
        """Give the texts of each part of the original's answers that a share may be asked of."""

    @abstractmethod
    def shown(self, logits_C: Float[np.ndarray, " c"]) -> str:
        """Write an answer for a person."""

    def changed(
        self, original_NC: Float[np.ndarray, "n c"], logits_NC: Float[np.ndarray, "n c"]
    ) -> Bool[np.ndarray, " n"]:
        return self.answers(original_NC) != self.answers(logits_NC)


@dataclass(frozen=True)
class SameClass(SameAnswer):
    """The likeliest class of one-label classifiers, of any number of classes."""

    labels: Sequence[str]

    def answers(self, logits_NC: Float[np.ndarray, "n c"]) -> Int[np.ndarray, " n"]:
        return logits_NC.argmax(-1)

    def groups(self, original_NC: Float[np.ndarray, "n c"]) -> Mapping[str, Bool[np.ndarray, " n"]]:
        answer_N = self.answers(original_NC)
        return {label: answer_N == number for number, label in enumerate(self.labels)}

    def shown(self, logits_C: Float[np.ndarray, " c"]) -> str:
        best = int(logits_C.argmax())
        return f"{self.labels[best]} ({softmax(logits_C)[best]:.2f})"


def same_answer_of(config: Mapping[str, Any], num_labels: int, where: object) -> SameAnswer:
    """Choose the notion by a classifier's config.json. ConfigError for a kind that is not served.

    Args:
        num_labels: rows of the classifier's weights.
    """
    if config.get("problem_type") == "multi_label_classification":
        raise ConfigError(f"model={where}: classifiers of several labels cannot be adapted yet")
    if num_labels == 1:
        raise ConfigError(f"model={where}: classifiers that give a score cannot be adapted yet")
    names = config.get("id2label")
    if names is None:
        return SameClass([f"LABEL_{number}" for number in range(num_labels)])
    numbers = [str(number) for number in range(num_labels)]
    found = [names.get(number) for number in numbers] if isinstance(names, dict) else []
    labels = [name for name in found if isinstance(name, str) and name.strip()]
    if len(set(labels)) < num_labels or len(names) != num_labels:
        message = f"id2label must name each of {num_labels} classes, got {names!s:.80}"
        raise ConfigError(f"model={where}: {message}")
    return SameClass(labels)
