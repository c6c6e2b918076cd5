"""Replicas for a stream: times fitted to what was measured, queues against what theory says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished import config_of, make_run, refused

from eat_lightning.capacity import sizing
from eat_lightning.capacity.__main__ import capacity
from eat_lightning.capacity.plan import CapacityPlan
from eat_lightning.capacity.row import CapacityRow, Check
from eat_lightning.capacity.service import NUM_FEATURES, Service, Timed, Ways, fitted
from eat_lightning.capacity.simulate import Discipline, poisson_ms, simulated
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError
from eat_lightning.runs import jsonl

# Two examples: one leaves at layer 1 with 4 tokens, one runs both layers with 6, then 3.
WAYS = Ways(np.array([1, 2]), np.array([[4, 6], [0, 3]]), [1, 2])


def constant(ms: float) -> Service:
    """Every batch takes so long, whoever is in it."""
    factors = np.zeros(NUM_FEATURES)
    factors[0] = ms
    return Service(WAYS, factors, np.ones(1), 0.0)


def test_the_steps_of_a_batch():
    """First, tokens read, layers, tokens and examples in layers, exits, examples at exits."""
    layers, steps = WAYS.take(np.array([0, 1, 1])).steps()
    assert layers.tolist() == [1, 2]
    assert steps.tolist() == [[1, 16, 1, 16, 3, 1, 3], [0, 0, 1, 6, 2, 1, 2]]
    layers, steps = WAYS.take(np.array([0])).steps()
    assert layers.tolist() == [1]


def test_each_has_its_answer_when_it_leaves():
    service = Service(WAYS, np.array([1.0, 0, 0, 0.5, 0, 0, 2]), np.ones(1), 0.0)
    times_B, whole = service.times(np.array([0, 1]))
    assert times_B.tolist() == [1 + 0.5 * 10 + 2 * 2, 10 + 0.5 * 3 + 2]
    assert whole == 13.5


def test_factors_are_found_again():
    rng, true = np.random.default_rng(0), np.array([2.0, 0.01, 0.3, 0.02, 0.1, 0.2, 0.05])
    depth_I = rng.choice([2, 4, 6], size=200)
    tokens_LI = rng.integers(5, 40, size=200) * (np.arange(6)[:, None] < depth_I)
    ways = Ways(depth_I, tokens_LI, [2, 4, 6])
    known, batches = Service(ways, true, np.ones(1), 0.0), []
    for turn in range(120):
        rows = rng.integers(200, size=[1, 4, 16][turn % 3])
        layers, steps = ways.take(rows).steps()
        left = [layer for layer in layers if (depth_I[rows] == layer).any()]
        ends = np.searchsorted(layers, left)
        ms = np.diff((steps @ true).cumsum()[ends], prepend=0.0)
        batches.append(Timed(rows, [int(layer) for layer in left], ms.tolist()))
    found = fitted(ways, batches)
    assert found.error < 1e-6
    rows = rng.integers(200, size=7)
    assert found.times(rows)[0] == pytest.approx(known.times(rows)[0], rel=1e-5)


def given(**changes: Any) -> Discipline:
    settings = {"size": 1, "wait_ms": 10.0, "queue": 10**6, "deadline_ms": 1e9, "overhead_ms": 0.0}
    return Discipline(**(settings | changes))


def test_a_request_that_meets_nobody_takes_its_service():
    outcome = simulated(constant(3.0), np.arange(5) * 100.0, 1, given(overhead_ms=0.5))
    assert outcome.latency_ms.tolist() == [3.5] * 5
    assert outcome.busy == pytest.approx(5 * 3.5 / 403.5)


def test_one_replica_waits_as_pollaczek_and_khinchin_say():
    """M/D/1: the mean wait is rho / (2 (1 - rho)) services."""
    for load in (0.5, 0.8):
        arrivals = poisson_ms(1000 * load, 200_000, np.random.default_rng(1))
        outcome = simulated(constant(1.0), arrivals, 1, given())
        wanted = 1 + load / (2 * (1 - load))
        assert outcome.latency_ms.mean() == pytest.approx(wanted, rel=0.05)
        assert outcome.busy == pytest.approx(load, rel=0.02)


def test_two_replicas_wait_less_by_turns_than_at_random():
    arrivals = poisson_ms(1600, 40_000, np.random.default_rng(1))
    waits = {
        balance: simulated(constant(1.0), arrivals, 2, given(balance=balance)).latency_ms.mean()
        for balance in ("round_robin", "random", "two_choices")
    }
    assert waits["random"] == pytest.approx(1 + 0.8 / 0.4, rel=0.1)  # two queues of M/D/1
    assert waits["round_robin"] < waits["random"]
    assert waits["two_choices"] < waits["random"]


def test_batches_wait_for_company_and_no_longer():
    """Three come at once and fill a batch of two; the third waits 10 ms for nobody."""
    outcome = simulated(constant(1.0), np.zeros(3), 1, given(size=2))
    assert outcome.latency_ms.tolist() == [1.0, 1.0, 11.0]
    full = simulated(constant(20.0), np.zeros(4), 1, given(size=2))
    assert full.latency_ms.tolist() == [20.0, 20.0, 40.0, 40.0]


def test_bounds_of_queue_and_deadline():
    outcome = simulated(constant(10.0), np.zeros(4), 1, given(queue=2))
    assert (len(outcome.latency_ms), outcome.share_503) == (3, 0.25)
    assert outcome.percentile(99) == np.inf
    outcome = simulated(constant(10.0), np.zeros(4), 1, given(deadline_ms=25.0))
    assert outcome.latency_ms.tolist() == [10.0, 20.0]
    assert outcome.share_504 == 0.5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", "sst2")


def settings(run: Path, to: Path, **changes: Any) -> dict[str, Any]:
    config = config_of("capacity") | {"run": str(run), "to": str(to), "force": True}
    config |= {"rate": 100.0, "p99_ms": 50.0, "measured": 50, "examples": 40, "arrivals": 1000}
    return config | {"overhead_ms": 1.0} | changes


def test_a_row_for_the_exits_and_one_for_full_depth(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """5 ms and 10 ms a request at 100 a second, p99 within 50 ms."""

    def known(backends: Any, *_: Any) -> dict[str, Service]:
        assert backends["static"].exits == [6]
        assert backends["own"].exits == [3, 4, 6]
        return {"own": constant(4.0), "static": constant(9.0)}

    monkeypatch.setattr(sizing, "measured", known)
    own, static = capacity(settings(run, tmp_path))
    assert (own.replicas, static.replicas) == (1, 2)
    assert own.busy == pytest.approx(0.5, rel=0.1)
    assert own.p99_found_ms < 50
    assert own.core_hours == pytest.approx(1e9 * 4 / 32 / 3.6e6)
    assert jsonl.read(tmp_path / "rows.jsonl", CapacityRow) == [own, static]
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("100 requests a second, p99 within 50 ms, inline, 1 at once")
    assert out[3].split()[:2] == ["adaptive", "1"]
    assert out[4].split()[:2] == ["static", "2"]
    slow, _ = capacity(settings(run, tmp_path, p99_ms=3.0, most=8))
    assert slow.replicas is None
    assert "over 8" in capsys.readouterr().out


def test_times_of_a_busy_machine_are_called_so(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """A fit that is 30 % off, and a gateway that seems to take less than its model."""
    off = replace(constant(4.0), error=0.3)
    monkeypatch.setattr(sizing, "measured", lambda *_: {"own": off, "static": constant(9.0)})
    monkeypatch.setattr(sizing, "request_ms", lambda *_: 3.0)
    with pytest.raises(ConfigError) as caught:
        capacity(settings(run, tmp_path, overhead_ms=None))
    assert "written: " in capsys.readouterr().out  # what was measured can be looked at
    first, second = str(caught.value).splitlines()
    told = "these times are not usable: batches left out of the fit were off by 30 %, more than 25"
    assert first.startswith(told)
    assert second.endswith("measure on a quiet machine, or give overhead_ms=...")
    monkeypatch.setattr(sizing, "measured", lambda *_: dict.fromkeys(sizing.ARMS, constant(4.0)))
    assert len(capacity(settings(run, tmp_path, overhead_ms=0.0))) == 2


def test_measures_both_arms(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sizing, "unusable", lambda *_: ())  # other tests run beside this one
    own, static = capacity(settings(run, tmp_path, p99_ms=5000.0, core_hour=0.04))
    assert static.mean_depth == 6
    assert 3 <= own.mean_depth < 6
    assert own.alone_ms > 1
    assert own.replicas is not None


def test_a_check_says_how_far_it_is_off():
    check = Check(2, 70.0, 100.0, 110.0, 10.0, 9.0, 40.0, 44.0)
    assert str(check) == (
        "2 replicas at 70/s: capacity 110.0/s predicted, 100.0 measured (+10.0 %), "
        "p50 9.0 ms predicted, 10.0 measured (-10.0 %), "
        "p99 44.0 ms predicted, 40.0 measured (+10.0 %)"
    )


def test_faults_are_named(run: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="rate") as caught:
        parsed(CapacityPlan, settings(run, tmp_path, rate=None, p99_ms=None, threads=2, batch=3))
    assert str(caught.value).splitlines() == [
        "rate must say how many requests come in a second",
        "p99_ms must say within how many milliseconds 99 of 100 are to be answered",
        "batch must be 1 with mode=inline, got 3",
        "threads must be 1, got 2: a replica is for one core",
    ]
    assert "rate must be in" in refused(parsed, CapacityPlan, settings(run, tmp_path, rate=-1.0))


def test_replicas_are_asked_with_the_settings_of_the_plan(run: Path, tmp_path: Path):
    config = config_of("capacity", "exit=confidence", "exit.tau=0.8", "exit.layers=[3]")
    changes = {"exit": config["exit"], "mode": "triage"}
    plan = parsed(CapacityPlan, settings(run, tmp_path, **changes))
    assert {"exit=confidence", "exit.tau=0.8", "exit.layers=[3]"} <= {*plan.gateway(False)}
    assert "exit=never" in plan.gateway(True)
    assert config_of("serve", *plan.gateway(False))["batch"] == 32


@pytest.mark.slow
def test_beside_a_real_gateway(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing is claimed of the error: others may run on this machine."""
    monkeypatch.setattr(sizing, "unusable", lambda *_: ())
    given = {"check": [1], "seconds": 2.0, "overhead_ms": None, "p99_ms": 5000.0, "rate": 5.0}
    for row in capacity(settings(run, tmp_path, **given)):
        [check] = row.checks
        assert check.rps > 0
        assert check.p99_ms >= check.p50_ms > 0
