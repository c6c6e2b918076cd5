"""The drift monitor: numbers by hand, the stated rate by simulation, the alarm and the return."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import poisson

from eat_lightning.monitor import detector, monitor
from eat_lightning.monitor.detector import CalibrationPool, Detector, bets
from eat_lightning.monitor.monitor import Monitor
from eat_lightning.monitor.observation import FEATURES, Observation, places
from eat_lightning.monitor.stability import StabilityWindow, by_chance, psi

SMALL = {"window": 100, "calm": 20}
HALVES = (0, 0.5), (0.5, 1)


def drawn(num: int, rng: np.random.Generator, harder: float = 0.0) -> list[Observation]:
    """Examples whose features hang together: a harder one is longer, less sure and leaves later."""
    hardness = rng.random(num) * (1 - harder) + harder
    confidence = 1 - 0.4 * hardness * rng.random(num)
    depth = np.where(confidence > 0.9, 3, np.where(confidence > 0.8, 4, 6))
    tokens = (5 + 30 * hardness + rng.integers(0, 5, num)).astype(int)
    label = rng.random(num) < 0.4
    given = (confidence, depth, 1 - 0.05 * depth, tokens, label.astype(int))
    return [Observation(*each) for each in zip(*(x.tolist() for x in given), strict=True)]


def watching(seed: int = 0, num: int = 300, **settings) -> tuple[Monitor, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return Monitor(drawn(num, rng), seed=seed, **settings), rng


def events(watch: Monitor, stream: list[Observation]) -> list[monitor.DriftEvent]:
    return [event for each in stream if (event := watch.observe(each)) is not None]


def test_psi_by_hand():
    """Half an example more in every bin: 1.5 and 1.5 of 3 against 2.5 and 0.5 of 3."""
    by_hand = (5 / 6 - 1 / 2) * math.log(5 / 3) + (1 / 6 - 1 / 2) * math.log(1 / 3)
    both = np.ones(2, bool)
    assert psi(np.array([1, 1]), np.array([2, 0]), both) == pytest.approx(by_hand)
    assert psi(np.array([1, 1]), np.array([3, 3]), both) == 0
    assert by_chance(np.array([2, 1]), 100, 100) == pytest.approx([0.02 * 6.6349, 0], rel=1e-4)


def test_a_window_forgets():
    """The window's counts are those of its last examples, whatever went through it."""
    rng = np.random.default_rng(0)
    known = places(drawn(300, rng))
    slid, fresh = StabilityWindow(known, 50), StabilityWindow(known, 50)
    for place_F in places(drawn(200, rng, harder=0.8)):
        slid.add(place_F)
    last = places(drawn(50, rng))
    for place_F in last:
        slid.add(place_F)
        fresh.add(place_F)
    assert slid.full
    assert slid.psi_F.tolist() == fresh.psi_F.tolist()
    assert slid.psi_F.max() < 0.5
    depths = slid.expected_FK[1]
    assert depths.tolist()[:4] == [*np.bincount(known[:, 1])[[3, 4, 6]], 0]  # a bin each, and above
    confidence = slid.expected_FK[0]
    assert confidence.sum() == 300
    assert confidence.max() < 45  # bins of near equal numbers


def test_ranks_by_hand():
    """Of places 1, 1, 2, 4 the new 2 has two below and one equal beside itself."""
    pool = CalibrationPool(np.repeat([[1], [1], [2], [4]], len(FEATURES), axis=1))
    p_F = pool.take_in(np.full(len(FEATURES), 2), np.array([0.0, 0.5, 1.0, 0.25, 0.75]))
    assert p_F.tolist() == pytest.approx([2 / 5, 3 / 5, 4 / 5, 2.5 / 5, 3.5 / 5])
    assert len(pool) == 5


def test_no_bet_wins_on_average():
    for g in range(bets(np.array([0.5])).shape[1]):
        halves = [quad(lambda p, g=g: bets(np.array([p]))[0, g], *ends)[0] for ends in HALVES]
        assert sum(halves) == pytest.approx(1, abs=2e-3)  # 1e-12 ** 0.25 of it lies below LEAST
    payoff = bets(np.array([0.0, 0.3, 0.5, 1.0]))
    assert payoff.min() > 0
    assert np.isfinite(payoff).all()


def test_the_evidence_by_hand():
    found = Detector(1, 10)
    found.add(np.array([0.5]))
    assert found.sums_FG[0, :6] == pytest.approx(1)  # cos(pi / 2) = 0
    assert found.sums_FG[0, 6:9] == pytest.approx(1 - detector.STAKES)  # cos(pi) = -1
    assert found.sums_FG[0, 12] == pytest.approx(0.5 * 0.5**-0.5)
    found.add(np.array([0.5]))
    assert found.sums_FG[0, 0] == pytest.approx(2)
    assert found.statistic_F.sum() == pytest.approx(found.sums_FG.mean())


def false_alarms(run_length: float, num_streams: int, length: int) -> int:
    """In control: calibration part and stream anew each time, with returns and further alarms."""
    found = 0
    for seed in range(num_streams):
        watch, rng = watching(seed, num=60, run_length=run_length, window=50, calm=0)
        found += sum(e.event == monitor.ALARM for e in events(watch, drawn(length, rng)))
    return found


def test_false_alarms_stay_below_the_stated_rate():
    """At most length / run_length a stream on average, with a calibration part of 60."""
    streams, length, run_length = 60, 200, 60
    bound = streams * length / run_length
    found = false_alarms(run_length, streams, length)
    assert 0 < found <= poisson.ppf(0.999, bound)


def test_a_planted_shift_is_found_and_named():
    delays = []
    for seed in range(10):
        watch, rng = watching(seed)
        assert events(watch, drawn(500, rng)) == []
        longer = [replace(each, tokens=each.tokens + 12) for each in drawn(200, rng)]
        (alarm,) = events(watch, longer)
        assert (alarm.event, alarm.feature) == ("alarm", "tokens")
        assert alarm.statistic >= alarm.bound == 100_000
        assert watch.full_depth
        delays.append(alarm.at - 500)
    assert max(delays) < 150


@pytest.mark.parametrize(
    ("feature", "value"),
    [("label", 1), ("depth", 6), ("confidence", 0.99999), ("retention", 0.2)],
)
def test_each_feature_can_move_alone(feature: str, value: float):
    watch, rng = watching()
    events(watch, drawn(100, rng))
    moved = [replace(each, **{feature: value}) for each in drawn(300, rng)]
    assert [event.feature for event in events(watch, moved)] == [feature]


def test_it_returns_when_the_stream_is_calm_again():
    watch, rng = watching(**SMALL)
    (alarm,) = events(watch, drawn(200, rng, harder=0.7))
    assert events(watch, drawn(400, rng, harder=0.7)) == []  # the shift stays: so does full depth
    assert watch.full_depth
    (back,) = events(watch, drawn(1000, rng))
    assert (back.event, back.feature) == ("return", alarm.feature)
    assert back.at >= 600 + SMALL["calm"]
    assert back.statistic <= back.bound
    assert not watch.full_depth
    assert all(value <= 0.5 for value in back.psi.values())


def test_an_alarm_soon_after_a_return_doubles_the_wait():
    watch, rng = watching(**SMALL)
    waits = []
    for _ in range(3):
        events(watch, drawn(400, rng, harder=0.8))
        assert watch.full_depth
        waits.append(watch.wait)
        events(watch, drawn(120, rng))
        while watch.full_depth:
            events(watch, drawn(50, rng))
    assert waits == [20, 40, 80]
