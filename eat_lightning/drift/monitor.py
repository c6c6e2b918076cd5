"""The drift monitor: an alarm with a stated false-alarm rate, full depth, and back with hysteresis.

While examples leave early, each is ranked in each feature among the calibration part and all that
was taken in since (`pool.py`), and a Shiryaev-Roberts e-detector (`detector.py`) adds up the
evidence of a change. If the stream is drawn from one distribution with the calibration part,
whatever that is, then among any n examples at most n / run_length alarms come on average.

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
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eat_lightning.config import parsed
from eat_lightning.drift.detector import Detector
from eat_lightning.drift.observation import FEATURES, Observation, places
from eat_lightning.drift.plan import MonitorPlan
from eat_lightning.drift.pool import Pool
from eat_lightning.drift.stability import Window

EARLY, FULL = "early_exits", "full_depth"
ALARM, RETURN = "alarm", "return"
SOON = 10  # windows
KEPT = ("at", "since", "num_alarms", "quiet", "wait", "moved")  # over a restart, beside its arrays


@dataclass(frozen=True)
class Event:
    """at: examples observed so far. feature: what moved most (of a return: what had). statistic and
    bound: the evidence, at the alarm or of the return's largest index."""

    event: str
    at: int
    feature: str
    statistic: float
    bound: float
    psi: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


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
        parsed(MonitorPlan, self.settings)
        place_BF = places(list(seen))
        self.pool, self.window = Pool(place_BF), Window(place_BF, window)
        self.detector = Detector(len(FEATURES), run_length)
        self.psi_bound_F = self.window.bound_F(psi)
        self.calm, self.wait, self.quiet = calm, calm, 0
        self.rng, self.lock = np.random.default_rng(seed), threading.Lock()
        self.at, self.since, self.num_alarms = 0, 0, 0
        self.moved: str | None = None  # None while examples leave early

    @property
    def full_depth(self) -> bool:
        return self.moved is not None

    def observe(self, seen: Observation) -> Event | None:
        place_F = seen.places_F
        with self.lock:
            self.at += 1
            self.window.add(place_F)
            return self.await_calm() if self.full_depth else self.test(place_F)

    def test(self, place_F: np.ndarray) -> Event | None:
        self.detector.add(self.pool.take_in(place_F, self.rng.random(len(place_F))))
        if not self.detector.alarms:
            return None
        statistic_F = self.detector.statistic_F
        self.moved = FEATURES[int(statistic_F.argmax())]
        soon = self.num_alarms > 0 and self.at - self.since < SOON * self.window.size
        self.wait = 2 * self.wait if soon else self.calm
        evidence = float(statistic_F.sum()), float(self.detector.run_length)
        event = Event(ALARM, self.at, self.moved, *evidence, self.psi())
        self.since, self.quiet, self.num_alarms = self.at, 0, self.num_alarms + 1
        self.detector.restart()
        self.window.clear()
        return event

    def await_calm(self) -> Event | None:
        if not self.window.full:
            return None
        psi_F, bound_F = self.window.psi_F, self.psi_bound_F
        most = int((psi_F - bound_F).argmax())
        self.quiet = self.quiet + 1 if psi_F[most] <= bound_F[most] else 0
        if self.quiet <= self.wait:
            return None
        assert self.moved is not None
        evidence = float(psi_F[most]), float(bound_F[most])
        event = Event(RETURN, self.at, self.moved, *evidence, self.psi())
        self.moved, self.since = None, self.at
        return event

    def kept(self) -> dict[str, Any]:
        """All that it has learnt since it was made, in plain values, for `restore`."""
        with self.lock:
            return {
                **{name: getattr(self, name) for name in KEPT},
                "settings": self.settings,
                "sums": self.detector.sums_FG.tolist(),
                "pool": self.pool.at_most_FS.tolist(),
                "window": [bin_F.tolist() for bin_F in self.window.bins],
                "chance": self.rng.bit_generator.state,
            }

    def restore(self, kept: dict[str, Any]) -> None:
        """Goes on where another one of the same reference and settings was. ValueError, and nothing
        changed, where `kept` is not what that one said."""
        try:
            self.check(kept)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"not what a monitor keeps ({type(error).__name__}: {error})"
            ) from None
        with self.lock:
            for name in KEPT:
                setattr(self, name, kept[name])
            self.detector.sums_FG = np.array(kept["sums"], float)
            self.pool.at_most_FS = np.array(kept["pool"], np.int64)
            self.rng.bit_generator.state = kept["chance"]
            self.window.clear()
            for bin_F in kept["window"]:
                self.window.add_bins(np.array(bin_F, np.int64))

    def check(self, kept: dict[str, Any]) -> None:
        """ValueError, KeyError or TypeError."""
        if kept["settings"] != self.settings:
            raise ValueError(f"of other settings ({kept['settings']} there, {self.settings} here)")
        counts = [kept[name] for name in KEPT if name != "moved"]
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in counts):
            raise ValueError("counts must be 0 or more")
        if kept["moved"] not in (None, *FEATURES):
            raise ValueError(f"moved cannot be {kept['moved']!r:.40}")
        sums_FG, pool_FS = np.array(kept["sums"], float), np.array(kept["pool"], np.int64)
        known_FS = self.pool.at_most_FS
        if sums_FG.shape != self.detector.sums_FG.shape or pool_FS.shape != known_FS.shape:
            raise ValueError("sums or pool have another shape")
        ascending = (np.diff(pool_FS) >= np.diff(known_FS)).all() and not pool_FS[:, 0].any()
        if not np.isfinite(sums_FG).all() or (sums_FG < 0).any() or not ascending:
            raise ValueError("sums or pool hold what cannot be")
        bins = [np.array(bin_F) for bin_F in kept["window"]]
        most_F = self.window.real_FK.sum(1)
        sound = all(b.shape == most_F.shape and b.dtype.kind == "i" for b in bins)
        if len(bins) > self.window.size or not sound:
            raise ValueError("window has another shape")
        if any((b < 0).any() or (b >= most_F).any() for b in bins):
            raise ValueError("window holds what cannot be")
        np.random.default_rng(0).bit_generator.state = kept["chance"]

    def psi(self) -> dict[str, float]:
        return dict(zip(FEATURES, self.window.psi_F.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Plain values, for a page or a metric. since: examples observed when the state began.
        Each feature's statistic is its part of a sum that is an alarm at its bound."""
        with self.lock:
            psi, statistic_F = self.psi(), self.detector.statistic_F.tolist()
            features = {
                name: {
                    "statistic": statistic_F[i],
                    "bound": float(self.detector.run_length),
                    "psi": psi[name],
                    "psi_bound": float(self.psi_bound_F[i]),
                }
                for i, name in enumerate(FEATURES)
            }
            return {
                "state": FULL if self.full_depth else EARLY,
                "since": self.since,
                "seen": self.at,
                "alarms": self.num_alarms,
                "feature": self.moved,
                "statistic": sum(statistic_F),
                "bound": float(self.detector.run_length),
                "in_window": len(self.window.bins),
                "features": features,
            }
