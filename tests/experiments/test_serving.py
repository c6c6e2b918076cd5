"""The load generator: times count from when a request was due."""

import asyncio

import numpy as np
import pytest
from helpers.gateways import FakeModel, running

from experiments.serving.run import ratio
from experiments.serving.traffic import BROKEN, Client, Shot, answered_rate, measured, open_loop


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


def test_a_ratio_of_a_route_to_itself_has_no_width():
    rounds = [np.array([1.0, 2.0]), np.array([3.0, 9.0])]
    assert ratio(rounds, rounds, 99) == ratio(rounds, rounds, 50)
    twice = ratio([2 * ms for ms in rounds], rounds, 50)
    assert (twice.value, twice.low, twice.high) == (2.0, 2.0, 2.0)


def test_a_slow_gateway_does_not_slow_down_its_load():
    """Sent while nothing is answered; then each has waited since it was due."""
    model = FakeModel()
    model.gate.clear()

    async def go(port: int) -> list[Shot]:
        client = Client("127.0.0.1", port, deadline_ms=9000)
        requests = [client.request({"text": "hard"})] * 5
        loading = asyncio.ensure_future(open_loop(client, requests, np.arange(5) / 50))
        await asyncio.sleep(0.5)
        model.gate.set()
        shots = await loading
        client.close()
        return shots

    with running(model, queue=4, max_texts=1) as served:
        shots = asyncio.run(go(served.client.base_url.port))
    assert sorted(shot.status for shot in shots) == [200] * 5
    assert max(shot.sent for shot in shots) < 0.4
    assert all(shot.ended >= 0.45 for shot in shots)
