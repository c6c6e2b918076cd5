"""What the gateway counts: answers, what was accepted and got none, reloads."""

import threading

import httpx
import pytest
from helpers.gateways import FakeModel, Running, eventually, running

from eat_lightning.deploy.serve.plan import ServeSettings


def test_metrics_count_what_was_said():
    with running(FakeModel()) as served:
        served.say({"examples": ["hard", "easy", "good"]})
        served.say({})
        text = served.client.get("/metrics").text
        live = served.client.get("/live").json()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    assert lines['eat_requests_total{path="/classify",status="200"}'] == "1.0"
    assert lines['eat_requests_total{path="/classify",status="422"}'] == "1.0"
    assert lines['eat_answers_total{exit_reason="confident",label="negative"}'] == "1.0"
    assert lines['eat_answers_total{exit_reason="confident",label="positive"}'] == "1.0"
    assert lines['eat_depth_bucket{le="3.0"}'] == "2.0"
    assert lines["eat_depth_sum"] == "12.0"
    assert lines['eat_retention_percentile{quantile="0.5"}'] == "0.75"
    assert lines["eat_latency_seconds_count"] == "3.0"
    assert lines["eat_queue_length"] == "0.0"
    assert lines['eat_drift_state{state="off"}'] == "1.0"
    assert live["depth"] == {"3": 2, "6": 1}
    assert live["retention"] == [0, 0, 0, 0, 0, 1, 0, 2, 0, 0]
    assert live["exit_reason"] == {"confident": 2, "last_layer": 1}


def test_what_was_accepted_is_answered_or_failed():
    """One was at work when its deadline passed, one had no turn by then, one was left by its
    client, one died with the worker; what came behind that is one or the other."""
    model = FakeModel()
    model.gate.clear()
    with running(model) as served:
        late = served.say({"examples": ["hard late", "waits"], "deadline_ms": 200})
        assert late.status_code == 504
        with pytest.raises(httpx.ReadTimeout):
            served.client.post("/classify", json={"text": "gone"}, timeout=0.2)
        eventually(lambda: len(served.gateway.queue) == 0)
        model.gate.set()
        assert served.say({"examples": ["a", "b"]}).status_code == 200
        assert served.say({"examples": ["die", "c"]}).status_code == 503
        eventually(lambda: served.deaths == 1)
        assert [failed(served, status) for status in (499, 504)] == [1, 2]
        answered = served.gateway.metrics.num_answers
        assert (answered, failed(served, 503)) in ((2, 2), (3, 1))


def failed(served: Running, status: int) -> float | None:
    labels = {"status": str(status)}
    return served.gateway.metrics.registry.get_sample_value("eat_failed_total", labels)


def test_a_deadline_that_passes_while_a_worker_is_started():
    started = threading.Event()

    def slow(plan: ServeSettings) -> FakeModel:
        assert started.wait(20)
        return FakeModel("revived")

    with running(FakeModel(), revive=slow) as served:
        assert served.say({"text": "die"}).status_code == 503
        response = served.say({"text": "a", "deadline_ms": 200})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json() == {"error": "the deadline passed while a worker is started"}
        started.set()
        assert served.say({"text": "a"}).status_code == 200


def test_a_reload_beside_another_is_refused_and_counted():
    begun, finish = threading.Event(), threading.Event()

    def slow(plan: ServeSettings) -> FakeModel:
        begun.set()
        assert finish.wait(20)
        return FakeModel("next")

    with running(FakeModel(), revive=slow) as served:
        url = served.client.base_url.join("/reload")
        first = threading.Thread(target=lambda: httpx.post(url, timeout=20, trust_env=False))
        first.start()
        assert begun.wait(20)
        response = served.client.post("/reload")
        assert response.status_code == 409
        assert response.headers["retry-after"] == "5"
        finish.set()
        first.join(20)
        value = served.gateway.metrics.registry.get_sample_value
        counted = [value("eat_reloads_total", {"result": r}) for r in ("done", "refused")]
        assert counted == [1, 1]
