"""How far the confidence of an exit head is what it says, before and after its temperature.

Shapes: B examples, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import mean

import numpy as np

from eat_lightning.report.passes import Pass
from eat_lightning.report.statistics import Interval, over_seeds, softmax
from eat_lightning.report.study import Measured, Point

from . import metrics
from .metrics import Bin

NUM_BINS = 15  # EAT, section 7.2


@dataclass(frozen=True)
class Head:
    """The head of one run at `layer`. Guesses are recorded after the temperature was fitted: before
    it they were so many times as large."""

    measured: Measured
    layer: int

    @property
    def temperature(self) -> float | None:
        """None where the row does not say it."""
        return self.measured.row.temperature.get(str(self.layer))

    @cached_property
    def after_BC(self) -> np.ndarray:
        return self.measured.known.recorded.guesses[self.layer].astype(np.float64)

    @property
    def before_BC(self) -> np.ndarray:
        return self.after_BC * (self.temperature or 1.0)

    @cached_property
    def correct_B(self) -> np.ndarray:
        return self.after_BC.argmax(1) == self.measured.known.recorded.labels

    @cached_property
    def chance(self) -> Interval:
        """The ECE that perfect calibration would show with these confidences, percent."""
        sure_B = metrics.confidence(self.after_BC)
        return metrics.ece_when_calibrated(sure_B, NUM_BINS).times(100)

    def brier_B(self, logits_BC: np.ndarray) -> np.ndarray:
        labels_B = self.measured.known.recorded.labels
        return metrics.brier_scores(softmax(logits_BC), labels_B)

    @cached_property
    def bins(self) -> dict[str, list[Bin]]:
        return {
            when: metrics.reliability(metrics.confidence(logits_BC), self.correct_B, NUM_BINS)
            for when, logits_BC in (("before", self.before_BC), ("after", self.after_BC))
        }

    @cached_property
    def values(self) -> dict[str, float | None]:
        """Percent, but for temperature and Brier scores."""
        accuracy = 100 * float(self.correct_B.mean())
        found: dict[str, float | None] = {"accuracy": accuracy, "temperature": self.temperature}
        for when, logits_BC in (("before", self.before_BC), ("after", self.after_BC)):
            sure_B = metrics.confidence(logits_BC)
            judged = sure_B, self.correct_B
            found |= {
                f"confidence_{when}": 100 * float(sure_B.mean()),
                f"ece_{when}": 100 * metrics.ece(*judged, NUM_BINS),
                f"adaptive_ece_{when}": 100 * metrics.adaptive_ece(*judged, NUM_BINS),
                f"brier_{when}": float(self.brier_B(logits_BC).mean()),
                f"aurc_{when}": 100 * metrics.aurc(*judged),
                f"excess_aurc_{when}": 100 * metrics.excess_aurc(*judged),
            }
        return found


@dataclass(frozen=True)
class Exit:
    """The heads at one layer, one of each run."""

    found: Pass
    layer: int

    @cached_property
    def heads(self) -> list[Head]:
        return [Head(m, self.layer) for m in self.found.runs]

    @property
    def point(self) -> Point:
        return Point(self.found.runs)

    @property
    def chance(self) -> Interval:
        """The mean over seeds; its range is the widest."""
        return over_seeds([head.chance for head in self.heads])

    def values(self, key: str) -> list[float | None]:
        return [head.values[key] for head in self.heads]

    def mean(self, key: str) -> float:
        return mean(value or 0.0 for value in self.values(key))
