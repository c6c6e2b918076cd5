"""Drift monitor with a bounded false-alarm rate, full depth during an alarm, and hysteresis.

While exits are active, each example is ranked in each feature among the calibration part and the
stream so far, and an e-detector accumulates evidence of a change (`detector.py`). If the stream has
the same distribution as the calibration part, any n examples contain at most n / run_length alarms
on average.

At full depth, each example is observed as the exits would have handled it (`observation.py`), but
it is not added to the pool, because suspicious examples must not become normal. Whether an example
is tested therefore depends only on earlier examples, and such a selection preserves independence
(Doob's optional skipping). The rate thus holds for any number of returns.

The return uses a different test from the alarm. In a whole new window since the alarm, every
feature's population stability index must be below its bound, and stay so for `calm` more examples.
An alarm within ten windows of a return doubles this wait, so that shifts too small for the index do
not make the monitor oscillate.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, NonNegativeInt

from eat_lightning.config import Settings, parsed
from eat_lightning.monitor.detector import CalibrationPool, Detector
from eat_lightning.monitor.observation import FEATURES, Observation, places
from eat_lightning.monitor.stability import StabilityWindow
from eat_lightning.validation import NotNegative

EARLY, FULL = "early_exits", "full_depth"
ALARM, RETURN = "alarm", "return"
SOON = 10  # windows


class MonitorSettings(Settings):
    """The arguments of a `Monitor`."""

    run_length: Annotated[float, Field(ge=10)]
    window: Annotated[int, Field(ge=50)]
    calm: NonNegativeInt
    psi: NotNegative


class WatchSettings(MonitorSettings):
    """Settings of a command that may watch its answers. monitor: whether it does."""

    monitor: bool

    @property
    def monitors(self) -> dict[str, Any]:
        """Arguments of the monitor."""
        return self.model_dump(include={*MonitorSettings.model_fields})


@dataclass(frozen=True)
class DriftEvent:
    """An alarm or a return.

    Args:
        at: number of examples observed so far.
        feature: with the largest shift, now or (for a return) before.
        statistic, bound: the evidence for an alarm, or the largest index for a return.
    """

    event: str
    at: int
    feature: str
    statistic: float
    bound: float
    psi: dict[str, float]

    def tell(self) -> None:
        """Print a line on standard error."""
        line = f"steady again after {self.at} answers"
        if self.event == ALARM:
            line = f"alarm after {self.at} answers, {self.feature} moved"
        print(f"drift: {line}", file=sys.stderr, flush=True)


COUNTS = ("at", "since", "num_alarms", "quiet", "wait", "moved")


class Monitor:
    """A drift monitor, safe to use from several threads.

    Args:
        run_length: minimum average number of examples per false alarm.
        window: number of examples for the stability index.
        psi: values below this, or below the range expected by chance, count as no shift.
        seed: for random ranks among equals.
    """

    def __init__(
        self,
        seen: Sequence[Observation],
        run_length: float = 100_000,
        window: int = 500,
        calm: int = 200,
        psi: float = 0.1,
        seed: int = 0,
    ):
        self.settings = {"run_length": run_length, "window": window, "calm": calm, "psi": psi}
        parsed(MonitorSettings, self.settings)
        place_BF = places(seen)
        self.pool, self.window = CalibrationPool(place_BF), StabilityWindow(place_BF, window)
        self.detector = Detector(len(FEATURES), run_length)
        self.psi_bound_F = self.window.bound_F(psi)
        self.calm, self.wait, self.quiet = calm, calm, 0
        self.rng, self.lock = np.random.default_rng(seed), threading.Lock()
        self.at, self.since, self.num_alarms = 0, 0, 0
        self.moved: str | None = None  # None while examples leave early

    @property
    def full_depth(self) -> bool:
        return self.moved is not None

    def observe(self, seen: Observation) -> DriftEvent | None:
        place_F = seen.places_F
        with self.lock:
            self.at += 1
            self.window.add(place_F)
            return self.await_calm() if self.full_depth else self.test(place_F)

    def test(self, place_F: np.ndarray) -> DriftEvent | None:
        self.detector.add(self.pool.take_in(place_F, self.rng.random(len(place_F))))
        if not self.detector.alarms:
            return None
        statistic_F = self.detector.statistic_F
        self.moved = FEATURES[int(statistic_F.argmax())]
        soon = self.num_alarms > 0 and self.at - self.since < SOON * self.window.size
        self.wait = 2 * self.wait if soon else self.calm
        bound = float(self.detector.run_length)
        event = DriftEvent(ALARM, self.at, self.moved, float(statistic_F.sum()), bound, self.psi())
        self.since, self.quiet, self.num_alarms = self.at, 0, self.num_alarms + 1
        self.detector.sums_FG[:] = 0
        self.window.clear()
        return event

    def await_calm(self) -> DriftEvent | None:
        if not self.window.full:
            return None
        psi_F, bound_F = self.window.psi_F, self.psi_bound_F
        most = int((psi_F - bound_F).argmax())
        self.quiet = self.quiet + 1 if psi_F[most] <= bound_F[most] else 0
        if self.quiet <= self.wait:
            return None
        assert self.moved is not None
        largest, bound = float(psi_F[most]), float(bound_F[most])
        event = DriftEvent(RETURN, self.at, self.moved, largest, bound, self.psi())
        self.moved, self.since = None, self.at
        return event

    def kept(self) -> dict[str, Any]:
        """Return the learnt state, for `restore`."""
        with self.lock:
            return {name: getattr(self, name) for name in COUNTS} | {
                "sums": self.detector.sums_FG.tolist(),
                "pool": self.pool.at_most_FS.tolist(),
                "window": [bin_F.tolist() for bin_F in self.window.bins],
                "chance": self.rng.bit_generator.state,
            }

    def restore(self, kept: dict[str, Any]) -> None:
        """Continue from the state of another monitor with the same reference and settings.

        Raises:
            ValueError, KeyError, TypeError: for invalid `kept`; the monitor is then unchanged.
        """
        rng = np.random.default_rng()
        rng.bit_generator.state = kept["chance"]
        counts = {name: kept[name] for name in COUNTS}
        sums_FG = np.array(kept["sums"], float).reshape(self.detector.sums_FG.shape)
        pool_FS = np.array(kept["pool"], np.int64).reshape(self.pool.at_most_FS.shape)
        bins = np.array(kept["window"], np.int64).reshape(-1, len(FEATURES))
        with self.lock:
            vars(self).update(counts)
            self.rng, self.detector.sums_FG, self.pool.at_most_FS = rng, sums_FG, pool_FS
            self.window.clear()
            for bin_F in bins:
                self.window.add_bins(bin_F)

    def psi(self) -> dict[str, float]:
        return dict(zip(FEATURES, self.window.psi_F.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Return plain values for a page or a metric.

        `since` is the number of examples observed when the state began. Each feature's statistic is
        its contribution to a sum that raises an alarm at its bound.
        """
        with self.lock:
            bound, statistic_F = float(self.detector.run_length), self.detector.statistic_F.tolist()
            psi, bounds_F = self.psi(), self.psi_bound_F.tolist()
            features = {
                name: {"statistic": value, "bound": bound, "psi": psi[name], "psi_bound": most}
                for name, value, most in zip(FEATURES, statistic_F, bounds_F, strict=True)
            }
            return {
                "state": FULL if self.full_depth else EARLY,
                "since": self.since,
                "seen": self.at,
                "alarms": self.num_alarms,
                "feature": self.moved,
                "statistic": sum(statistic_F),
                "bound": bound,
                "in_window": len(self.window.bins),
                "features": features,
            }
