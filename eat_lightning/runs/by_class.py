"""Class statistics of a set of answers: the share of the largest class and recall by class.

Shapes: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from eat_lightning.answer_kind import SINGLE, AnswerKind


def by_class(
    kind: AnswerKind, names: Sequence[str], logits_BC: np.ndarray, label_B: np.ndarray
) -> dict[str, Any]:
    """Return the fields of a row that only single-label classification has."""
    if kind.problem_type != SINGLE:
        return {}
    largest = np.unique(label_B, return_counts=True)[1].max()  # right for a constant answer
    recall = recalls(names, logits_BC.argmax(-1), label_B)
    return {"majority": float(largest / len(label_B)), "recall": recall}


def recalls(names: Sequence[str], answer_B: np.ndarray, label_B: np.ndarray) -> dict[str, float]:
    """Return the recall of each class that occurs, by name."""
    right_B, there = answer_B == label_B, [c for c in range(len(names)) if (label_B == c).any()]
    return {names[c]: float(right_B[label_B == c].mean()) for c in there}


def unfound(names: Iterable[str], where: str = "") -> list[str]:
    """Return a line for each class with a recall of zero."""
    return [f"{name} is never predicted correctly{where}: its recall is 0" for name in names]
