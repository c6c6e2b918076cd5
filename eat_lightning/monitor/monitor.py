"""The drift monitor: an alarm with a stated false-alarm rate, full depth, and back with hysteresis.

While examples leave early, each is ranked in each feature among the calibration part and all that
was taken in since, and an e-detector adds up the evidence of a change (`detector.py`). If the
stream is drawn from one distribution with the calibration part, whatever that is, then among any n
examples at most n / run_length alarms come on average.

At full depth the same is observed of every example, as the exits would have done it
(`observation.py`), but nothing is taken in: what is under suspicion must not become normal. Which
examples are tested thus depends only on those before them, and such a selection leaves independent
draws as they are (Doob's optional skipping), so the rate holds over any number of returns. The way
back is another one than the way there: a whole fresh window since the alarm must have every
feature's population stability index below its bound, and stay so for `calm` examples more. An alarm
that comes within ten windows of a return doubles that wait, so a shift that the index calls small
cannot make the monitor swing to and fro.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class DriftEvent:
    """at: examples observed so far. feature: what moved most (of a return: what had). statistic and
    bound: the evidence, at the alarm or of the return's largest index."""

    event: str
    at: int
    feature: str
    statistic: float
    bound: float
    psi: dict[str, float]


COUNTS = ("at", "since", "num_alarms", "quiet", "wait", "moved")


class Monitor:
    """run_length: examples for one false alarm, on average, or more. window: examples that the
    stability index is of. psi: below this it counts as no shift, or below what chance makes of it.
    seed: of the random part of ranks among equals. Safe to use from several threads."""

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
        """Return what it has learnt, for `restore`."""
        with self.lock:
            return {name: getattr(self, name) for name in COUNTS} | {
                "sums": self.detector.sums_FG.tolist(),
                "pool": self.pool.at_most_FS.tolist(),
                "window": [bin_F.tolist() for bin_F in self.window.bins],
                "chance": self.rng.bit_generator.state,
            }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on where another one of the same reference and settings was. ValueError, KeyError or
        TypeError, and nothing changed, where `kept` is not what that one gave."""
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
        """Plain values, for a page or a metric. since: examples observed when the state began.
        Each feature's statistic is its part of a sum that is an alarm at its bound."""
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
