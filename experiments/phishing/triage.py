"""Triage: what a cheap model hands on to costly analysis, at a share of the positives that is kept.

Shapes: B examples. A positive is an example of the class that must not be missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf

import numpy as np

from eat_lightning.report.intervals import Interval, softmax, wilson
from eat_lightning.report.study import Measured

POSITIVE = 1  # the class's number
ROUNDING = 1e-9  # (19 + 1) x (1 - 0.95) is to be 1


@dataclass(frozen=True)
class HandedOn:
    """recall: share of the positives that are handed on; negatives: of the others; all: of both, as
    they are mixed here."""

    threshold: float
    recall: Interval
    negatives: Interval
    all: Interval

    def at(self, prevalence: float) -> float:
        """The share handed on where so many are positives."""
        return prevalence * self.recall.value + (1 - prevalence) * self.negatives.value


def threshold_for(score_B: np.ndarray, positive_B: np.ndarray, recall: float) -> float:
    """Hand on from this score on: of new positives, drawn as these were, at least `recall` score as
    high in expectation over calibration samples (split conformal, Vovk et al. 2005). -inf, all are
    handed on, where the positives are too few to say."""
    scores = np.sort(score_B[positive_B])
    below = floor((len(scores) + 1) * (1 - recall) + ROUNDING)
    return float(scores[below - 1]) if below else -inf


def handed_on(score_B: np.ndarray, positive_B: np.ndarray, threshold: float) -> HandedOn:
    """ValueError, as of `wilson`, where one of the classes is absent."""
    goes_B = score_B >= threshold
    parts = (positive_B, ~positive_B, np.ones_like(positive_B))
    shares = [wilson(int(goes_B[here_B].sum()), int(here_B.sum())) for here_B in parts]
    return HandedOn(threshold, *shares)


def curve(score_B: np.ndarray, positive_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall, and the share of all that is handed on, for every threshold from strict to lax."""
    thresholds = np.unique(score_B)[::-1]
    positives, scores = np.sort(score_B[positive_B]), np.sort(score_B)
    recall = 1 - np.searchsorted(positives, thresholds) / len(positives)
    return recall, 1 - np.searchsorted(scores, thresholds) / len(scores)


def score_of(measured: Measured) -> np.ndarray:
    """The probability of the positive class in the answer that each example left with."""
    return softmax(measured.known.logits_BC)[:, POSITIVE]
