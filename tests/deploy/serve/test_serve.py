"""The gateway over HTTP, before a fake model: answers, limits, queue, streams, reload."""

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from helpers.gateways import FakeModel, Running, eventually, running

from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.errors import ConfigError


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running(FakeModel(), max_bytes=5000, max_texts=4, max_chars=100) as found:
        yield found


def test_one_text(served: Running):
    response = served.say({"text": "a good film"})
    assert response.status_code == 200
    answer = response.json()
    assert answer.pop("latency_ms") > 0
    assert answer == {
        "label": "positive",
        "confidence": 0.95,
        "depth": 3,
        "exit_reason": "confident",
        "retention": 0.75,
        "windows": 1,
        "tokens": 5,
        "truncated": False,
    }


def test_guesses_of_the_exits_come_where_they_are_asked_for(served: Running):
    answer = served.say({"text": "hard", "guesses": True}).json()
    assert [guess["layer"] for guess in answer["guesses"]] == [3, 4, 6]
    examples = [{"text": "easy", "guesses": True}, "easy"]
    first, second = served.say({"examples": examples}).json()["answers"]
    assert (len(first["guesses"]), "guesses" in second) == (1, False)
    assert served.say({"text": "easy", "guesses": "yes"}).status_code == 422


def test_many_in_their_order(served: Running):
    examples = ["hard bad", {"text": "good"}, {"sentence": "hard good", "source": "mail"}]
    answers = served.say({"examples": examples, "deadline_ms": 5000}).json()["answers"]
    assert [a["label"] for a in answers] == ["negative", "positive", "positive"]
    assert [a["depth"] for a in answers] == [6, 3, 6]


REFUSED = [
    ("{", 400, "the body is not JSON: "),
    (b"\xff\xfe", 400, "the body is not JSON: "),
    (b"\xff", 400, "the body is not UTF-8"),
    ("[" * 5000, 400, "There was an error parsing the body"),
    ("", 400, "the body is empty"),
    ("[1]", 422, 'the body must be {"text": ...} or {"examples": [...]}, got a list'),
    ("{}", 422, "no key text: give text, or sentence, or examples"),
    ('{"text": "a", "text_pair": "b"}', 422, "'text_pair' is not known"),
    ('{"text": "a", "colour": 1}', 422, "'colour' is not known"),
    ('{"examples": []}', 422, "examples must have at least 1 item"),
    ('{"examples": [{"text": "a", "deadline_ms": 1}]}', 422, "'examples[0].deadline_ms' is not"),
    (json.dumps({"examples": ["a"] * 5}), 422, "examples must have at most 4 items, not 5"),
    (
        json.dumps({"examples": ["a", "b" * 101]}),
        422,
        "examples[1].text must have at most 100 characters, got 'bbb",
    ),
    ('{"text": "a", "source": ""}', 422, "source must have at least 1 character, got ''"),
    ('{"text": "a", "deadline_ms": 0}', 422, "deadline_ms must be greater than 0, got 0"),
    ('{"text": "' + "a" * 5000 + '"}', 413, "the body must have at most 5000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_taken_is_said(served: Running, body, status: int, said: str):
    json_type = {"content-type": "application/json"}
    response = served.client.post("/classify", content=body, headers=json_type)
    assert response.status_code == status
    assert response.json()["error"].startswith(said)


def test_too_many_texts_are_not_repeated(served: Running):
    assert "secret" not in served.say({"examples": ["secret"] * 5}).text


@pytest.mark.parametrize("kind", ["text/plain", ""])
def test_another_content_type(served: Running, kind: str):
    response = served.client.post("/classify", content="{}", headers={"content-type": kind})
    assert response.status_code == 415
    assert response.json()["error"].startswith("Content-Type must be application/json, got ")


def test_a_body_without_a_length_is_cut_off(served: Running):
    pieces = (b"x" * 1000 for _ in range(100))
    json_type = {"content-type": "application/json"}
    response = served.client.post("/classify", content=pieces, headers=json_type)
    assert response.status_code == 413


def test_other_paths_and_methods(served: Running):
    assert served.client.get("/classify").status_code == 405
    said = served.client.get("/nowhere").json()["error"]
    assert said.startswith("there is no such path, only /, /classify, /demo, /health, ")
    assert said.endswith("/v2/rerank")


@pytest.mark.parametrize("header", ["0", "nan", "soon"])
def test_a_wrong_deadline_header(served: Running, header: str):
    response = served.say({"text": "a"}, x_deadline_ms=header)
    assert response.status_code == 422
    assert response.json()["error"].startswith("X-Deadline-Ms must be ")
    assert response.json()["error"].endswith(f", got {header!r}")


def test_pairs_by_either_name():
    with running(FakeModel(columns=("premise", "hypothesis"))) as served:
        for content in ({"text": "a", "text_pair": "b"}, {"premise": "a", "hypothesis": "b"}):
            assert served.say(content).status_code == 200
        assert served.say({"text": "a"}).json()["error"].startswith("no key text_pair")
        wrong = served.say({"examples": ["a"]})
        assert wrong.json()["error"].startswith("no key examples[0].text_pair: give text and ")


def test_the_easy_are_answered_while_the_hard_are_at_work():
    """One request's lines, and another request's answer from the same batch."""
    model = FakeModel()
    model.gate.clear()
    with running(model, mode="triage", batch=16, wait_ms=300) as served:
        threads, found = served.at_once({"text": "hard"}, {"text": "easy"})
        threads[1].join(20)
        assert found[1].json()["depth"] == 3
        assert 0 not in found
        model.gate.set()
        threads[0].join(20)
        assert found[0].json()["depth"] == 6
        assert model.seen == [["hard", "easy"]]

        model.gate.clear()
        body = {"examples": ["hard", "good", "hard good", "bad"]}
        accept = {"accept": "application/x-ndjson"}
        with served.client.stream("POST", "/classify", json=body, headers=accept) as response:
            assert response.headers["content-type"] == "application/x-ndjson"
            lines = response.iter_lines()
            early = [json.loads(next(lines)) for _ in range(2)]
            assert [(a["index"], a["label"]) for a in early] == [(1, "positive"), (3, "negative")]
            model.gate.set()
            late = [json.loads(line) for line in lines]
        assert [(a["index"], a["depth"]) for a in late] == [(0, 6), (2, 6)]


def test_a_full_queue_is_said_at_once():
    model = FakeModel()
    model.gate.clear()
    with running(model, queue=2, max_texts=2) as served:
        threads, found = served.at_once(*[{"text": f"hard {i}"} for i in range(3)])
        eventually(lambda: len(served.gateway.queue) == 2)
        response = served.say({"text": "one more"})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json() == {"error": "the queue is full (2 examples)"}
        model.gate.set()
        for thread in threads:
            thread.join(20)
        assert [found[i].status_code for i in range(3)] == [200] * 3
        assert model.seen == [["hard 0"], ["hard 1"], ["hard 2"]]


def test_a_passed_deadline_is_never_computed():
    model = FakeModel()
    model.gate.clear()
    with running(model, queue=2, max_texts=2) as served:
        threads, _ = served.at_once({"text": "hard 0"})
        eventually(lambda: model.seen)
        for given in ({"deadline_ms": 50}, {}):
            headers = {} if given else {"x_deadline_ms": "50"}
            response = served.say({"examples": ["late", "later"]} | given, **headers)
            assert response.status_code == 504
            assert response.json() == {"error": "the deadline passed"}
            assert len(served.gateway.queue) == 0  # its room is others' at once
        model.gate.set()
        threads[0].join(20)
        assert served.say({"text": "next"}).status_code == 200
        assert model.seen == [["hard 0"], ["next"]]


def test_a_deadline_within_a_stream_ends_it():
    model = FakeModel()
    model.gate.clear()
    with running(model, mode="triage", batch=16, wait_ms=50) as served:
        body = {"examples": ["hard", "easy"], "deadline_ms": 300}
        lines = served.say(body, accept="application/x-ndjson").text.splitlines()
        assert json.loads(lines[0])["index"] == 1
        late = {"index": 0, "error": "the deadline passed", "status": 504}
        assert json.loads(lines[1]) == late
        model.gate.set()


def test_who_hangs_up_leaves_the_queue():
    model = FakeModel()
    model.gate.clear()
    with running(model) as served:
        threads, _ = served.at_once({"text": "hard"})
        eventually(lambda: model.seen)
        with pytest.raises(httpx.ReadTimeout):
            served.client.post("/classify", json={"text": "gone"}, timeout=0.2)
        eventually(lambda: len(served.gateway.queue) == 0)
        model.gate.set()
        threads[0].join(20)
        assert model.seen == [["hard"]]


def test_one_that_fails_takes_no_other_with_it(capfd: pytest.CaptureFixture):
    with running(FakeModel(), mode="triage", batch=16, wait_ms=0) as served:
        lines = served.say({"examples": ["a", "fail", "b"]}, accept="application/x-ndjson").text
        found = {a["index"]: a for a in map(json.loads, lines.splitlines())}
        assert found[0]["depth"] == found[2]["depth"] == 3
        assert found[1]["error"] == "the model failed on this example"
        assert served.say({"text": "fail"}).status_code == 500
        assert served.say({"text": "a"}).status_code == 200
    assert "the fake model fails" in capfd.readouterr().err


def test_a_dead_worker_is_said_and_replaced(capfd: pytest.CaptureFixture):
    model = FakeModel()
    with running(model) as served:
        response = served.say({"text": "die"})
        assert response.status_code == 503
        assert response.json() == {"error": "the worker died with this request"}
        assert served.say({"text": "a"}).status_code == 200
        served.gateway.worker.model.alive = False  # while it has nothing to do
        eventually(lambda: served.deaths == 2)
        assert served.say({"text": "a"}).status_code == 200
        assert "eat_worker_deaths_total 2.0" in served.client.get("/metrics").text
    assert "the fake worker died: starting another" in capfd.readouterr().err


def test_a_stuck_worker_is_killed(capfd: pytest.CaptureFixture):
    model = FakeModel()
    model.gate.clear()
    with running(model, stuck_s=0.3) as served:
        assert served.say({"text": "hard"}).status_code == 503
        assert model.killed
        assert served.say({"text": "hard"}).status_code == 200  # by another
    assert "the fake worker was killed: starting another" in capfd.readouterr().err


def test_decisions_are_lines_without_the_text(tmp_path):
    for with_text in (False, True):
        with running(FakeModel(), log=str(tmp_path / "log"), log_text=with_text) as served:
            served.say({"examples": [{"text": "good one", "source": "mail"}, "hard"]})
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["source"] for line in lines] == ["mail", None] * 2
    assert [line["num_characters"] for line in lines] == [8, 4] * 2
    assert [line["depth"] for line in lines] == [3, 6] * 2
    assert {line["drift"] for line in lines} == {"off"}
    assert [line.get("texts") for line in lines] == [None, None, ["good one"], ["hard"]]
    assert (tmp_path / "log").stat().st_mode & 0o77 == 0


def test_stop_answers_what_was_accepted():
    model = FakeModel()
    model.gate.clear()
    with running(model) as served:
        threads, found = served.at_once({"text": "hard 0"}, {"text": "hard 1"})
        eventually(lambda: len(served.gateway.queue) == 1)
        served.server.should_exit = True
        time.sleep(0.3)
        model.gate.set()
        for thread in threads:
            thread.join(20)
        assert [found[i].status_code for i in range(2)] == [200, 200]
    assert not model.alive


def test_reload_drops_no_request():
    model, statuses = FakeModel(), []
    stop = threading.Event()
    with running(model, revive=lambda plan: FakeModel(plan.run)) as served:

        def ask() -> None:
            url = served.client.base_url.join("/classify")
            with httpx.Client(trust_env=False) as client:
                while not stop.is_set():
                    statuses.append(client.post(url, json={"text": "a"}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for name in ("second", "third"):
            response = served.client.post("/reload", json={"run": name})
            assert response.json() == {"run": f"runs/{name}"}
            before = len(statuses)
            eventually(lambda before=before: len(statuses) > before + 20)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert served.client.post("/reload", json={}).json() == {"run": "runs/third"}
        assert served.client.post("/reload").json() == {"run": "runs/third"}
        elsewhere = {"origin": "https://elsewhere.example"}
        assert served.client.post("/reload", headers=elsewhere).status_code == 415
        assert served.client.get("/healthz").json()["run"] == "runs/third"
    assert set(statuses) == {200}
    assert not model.alive


def test_a_bad_run_is_refused_and_the_old_goes_on(capfd: pytest.CaptureFixture):
    def opened(plan: ServeSettings) -> FakeModel:
        if "pairs" in str(plan.run):
            return FakeModel(columns=("premise", "hypothesis"))
        raise ConfigError("run=nowhere is not a run folder\nand more")

    with running(FakeModel(), revive=opened) as served:
        for name, said in (("gone", "run=nowhere is not"), ("pairs", "fake is of another task")):
            response = served.client.post("/reload", json={"run": name})
            assert response.status_code == 409
            assert response.json()["error"].startswith(f"the old run stays in use: {said}")
        assert served.say({"text": "a"}).status_code == 200
        assert served.client.get("/healthz").json()["run"] == "fake"
        for name in ("../x", "a/b", "..", "", 3, "a\0"):
            assert served.client.post("/reload", json={"run": name}).status_code == 422
        assert served.client.post("/reload", content="{}").status_code == 415
        assert 'eat_reloads_total{result="refused"} 2.0' in served.client.get("/metrics").text
    assert capfd.readouterr().err.count("reload: the old run stays in use: ") == 2


def test_a_token():
    with running(FakeModel(), token="s3cret") as served:
        for path in ("/metrics", "/live"):
            assert served.client.get(path).status_code == 401
        assert served.client.get("/healthz").status_code == 200
        for given in ("", "Bearer", "Bearer other", "Basic s3cret", "Bearer s3cre\xe9"):
            headers = {"authorization": given.encode("latin-1")}
            response = served.client.post("/classify", json={"text": "a"}, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        assert served.say({"text": "a"}, authorization="Bearer s3cret").status_code == 200
