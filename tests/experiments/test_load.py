"""The load generator: its schedule, its numbers, its rows, and one load from end to end."""

import asyncio
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from gateways import FakeModel, running

from eat_lightning.runs import jsonl
from experiments.serving.rows import measured
from experiments.serving.traffic import (
    BROKEN,
    Client,
    Shot,
    answered_rate,
    closed_loop,
    open_loop,
    poisson,
)

SCRIPT = Path(__file__).parents[2] / "experiments" / "serving" / "draw.py"


def test_arrivals_are_poisson():
    times = poisson(100, 400, seed=1)
    assert len(times) == pytest.approx(40_000, rel=0.02)
    gaps = np.diff(times)
    assert gaps.min() > 0
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # exponential
    assert times[-1] < 400
    assert (poisson(100, 400, seed=1) == times).all()


def test_latency_counts_from_when_a_request_was_due():
    shots = [
        Shot(due=1.0, sent=1.5, ended=2.0, status=200, depth=3),
        Shot(due=1.0, sent=1.0, ended=1.1, status=200, depth=6),
        Shot(due=2.0, sent=2.0, ended=2.1, status=503),
        Shot(due=2.0, sent=2.0, ended=5.0, status=504),
        Shot(due=3.0, sent=3.0, ended=3.0, status=BROKEN),
    ]
    found = measured(shots, seconds=4.0)
    assert found["p50_ms"] == pytest.approx((1000 + 100) / 2)
    assert found["max_ms"] == pytest.approx(1000)
    assert (found["num_sent"], found["num_answered"], found["num_other"]) == (5, 2, 1)
    assert (found["share_503"], found["share_504"], found["rps"]) == (0.2, 0.2, 2 / 5)
    assert found["mean_depth"] == 4.5
    assert answered_rate(shots, 1.5) == 1 / 1.5
    with pytest.raises(ValueError, match="none of 2 requests was answered"):
        measured(shots[3:], seconds=4.0)


def test_a_slow_gateway_does_not_slow_down_its_load():
    """Sent while nothing is answered; then each has waited since it was due."""
    model = FakeModel()
    model.gate.clear()

    async def go(port: int) -> tuple[list[Shot], list[Shot]]:
        client = Client("127.0.0.1", port, deadline_ms=9000)
        requests = [client.request({"text": "hard"})] * 5
        loading = asyncio.ensure_future(open_loop(client, requests, np.arange(5) / 50))
        await asyncio.sleep(0.5)
        model.gate.set()
        shots = await loading
        waiting = await closed_loop(client, requests, 2, 0.3)
        client.close()
        return shots, waiting

    with running(model, queue=4, max_texts=1) as served:
        shots, waiting = asyncio.run(go(served.client.base_url.port))
    assert sorted(shot.status for shot in shots) == [200] * 5
    assert max(shot.sent for shot in shots) < 0.4
    assert all(shot.ended >= 0.45 for shot in shots)
    assert {shot.status for shot in waiting} == {200}
    assert len(waiting) > 2


@pytest.mark.parametrize("rate", [40, 0])
def test_routes_are_measured_in_one_run_each_with_the_same_texts(rate: int):
    from experiments.serving.routes import ROUTES, VLLM, rounds, rows_of, table

    model = FakeModel()
    routes = [*ROUTES, VLLM]
    with running(model) as served:
        url = served.client.base_url
        client = Client(url.host, url.port or 0, 5000)
        found = asyncio.run(rounds(client, routes, [("good",), ("bad",)], rate, 0.25, 2))
    assert {shot.status for shot in chain(*chain(*found.values()))} == {200}
    (count,) = {sum(map(len, rounds)) for rounds in found.values()}
    assert sorted(map(tuple, model.seen)).count(("good",)) % len(routes) == 0
    rows = rows_of(found, {"run": "fake", "rate": rate, "seconds": 0.25, "rounds": 2})
    lines = table(rows).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == [route.name for route in routes]
    assert f"| native | {count} | {count} |" in lines[2]
    assert lines[2].endswith("| 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |")


def test_a_ratio_of_percentiles_is_of_routes_that_got_the_same_requests():
    from experiments.serving.routes import ratio

    rounds = [*np.random.default_rng(0).exponential(10, (8, 50))]
    assert ratio([2 * ms for ms in rounds], rounds, 99) == pytest.approx((2, 2, 2))
    value, low, high = ratio([rounds[0] + 50, *rounds[1:]], rounds, 50)
    assert 1 < value < high
    assert low == 1  # without the first round the two are one


def test_the_page_s_table_of_routes_is_of_the_kept_rows():
    from experiments.serving.routes import ROWS, RouteRow, table

    rows = jsonl.read(ROWS, RouteRow)
    assert len(rows) > 2
    assert table(rows) in (SCRIPT.parent / "page.md").read_text("utf-8")
