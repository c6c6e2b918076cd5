"""Jobs: on the disk before they are accepted, answered after whatever died, fetched by their id."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from gateways import FakeModel, Running, eventually, running

from eat_lightning.deploy.serve.body import Example
from eat_lightning.deploy.serve.jobs import Job, Journal, accepted, answered, begun
from eat_lightning.errors import ConfigError


def post(served: Running, content: Any) -> str:
    response = served.client.post("/jobs", json=content)
    assert response.status_code == 202
    id = response.json()["id"]
    assert response.headers["location"] == f"/jobs/{id}"
    return id


def state(served: Running, id: str) -> dict[str, Any]:
    return served.client.get(f"/jobs/{id}").json()


def is_done(served: Running, id: str) -> Any:
    return lambda: state(served, id)["state"] == "done"


def depths(served: Running, id: str) -> list[int]:
    return [answer["depth"] for answer in state(served, id)["answers"]]


def test_a_job_is_answered_and_kept(tmp_path: Path):
    folder = str(tmp_path / "jobs")
    with running(FakeModel(), journal=folder) as served:
        id = post(served, {"examples": ["hard", {"text": "good", "source": "mail"}]})
        eventually(is_done(served, id))
        assert depths(served, id) == [6, 3]
        one = post(served, {"text": "a"})
        eventually(is_done(served, one))
        assert served.client.get("/jobs/other").status_code == 404
        for content in ({}, {"text": "a", "deadline_ms": 5}):
            assert served.client.post("/jobs", json=content).status_code == 422
    with running(FakeModel(), journal=folder) as served:
        assert depths(served, id) == [6, 3]
    rows = sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite").execute("select examples from jobs")
    assert rows.fetchall() == [(None,), (None,)]  # the texts are gone
    assert (tmp_path / "jobs" / "jobs.sqlite").stat().st_mode & 0o77 == 0


def test_without_a_journal_there_are_no_jobs():
    with running(FakeModel()) as served:
        assert served.client.post("/jobs", json={"text": "a"}).status_code == 404


def test_what_was_left_is_answered_at_the_next_start_in_order(tmp_path: Path):
    journal = Journal(str(tmp_path))
    journal.write([accepted(Job(str(i), [Example([f"job {i}"])])) for i in range(5)])
    journal.write([begun(Job("0", [])), answered(Job("1", []), [{"depth": 4}])])
    assert [(job.id, job.tries) for job in journal.waiting()] == [("0", 1), *left("2", "3", "4")]
    journal.close()
    model = FakeModel()
    with running(model, journal=str(tmp_path)) as served:
        eventually(is_done(served, "4"))
        assert [depths(served, id) for id in "01234"] == [[3], [4], [3], [3], [3]]
    assert model.seen == [["job 0"], ["job 2"], ["job 3"], ["job 4"]]


def left(*ids: str) -> list[tuple[str, int]]:
    return [(id, 0) for id in ids]


def test_a_dead_worker_loses_no_job_and_one_that_kills_is_given_up(tmp_path: Path):
    models = [FakeModel()]

    def revive(plan: Any) -> FakeModel:
        models.append(FakeModel())
        return models[-1]

    models[0].gate.clear()
    changes = {"mode": "triage", "batch": 16, "wait_ms": 100, "journal": str(tmp_path)}
    with running(models[0], revive=revive, **changes) as served:
        ids = [post(served, {"text": text}) for text in ("hard", "good", "die", "bad")]
        models[0].gate.set()
        for id in ids:
            eventually(is_done(served, id))
        gave_up = {"error": "given up: begun 3 times and never finished"}
        assert state(served, ids[2])["answers"] == [gave_up]
        assert [depths(served, ids[i]) for i in (0, 1, 3)] == [[6], [3], [3]]
    killed = [texts for model in models for texts in model.seen if "die" in texts]
    assert len(killed) == 3
    assert killed[1:] == [["die"], ["die"]]  # alone, once it is suspected


def test_a_model_that_fails_is_an_answer(tmp_path: Path, capfd: pytest.CaptureFixture):
    with running(FakeModel(), journal=str(tmp_path)) as served:
        id = post(served, {"examples": ["good", "fail"]})
        eventually(is_done(served, id))
        answers = state(served, id)["answers"]
        assert answers[0]["depth"] == 3
        assert answers[1] == {"error": "the model failed on this example"}
    assert "the fake model fails" in capfd.readouterr().err


def test_jobs_have_a_bound(tmp_path: Path):
    model = FakeModel()
    model.gate.clear()
    with running(model, journal=str(tmp_path), max_jobs=2) as served:
        post(served, {"text": "hard"})
        last = post(served, {"text": "hard"})
        response = served.client.post("/jobs", json={"text": "a"})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert served.say({"text": "hard", "deadline_ms": 100}).status_code == 504
        model.gate.set()
        eventually(is_done(served, last))


def test_stop_answers_jobs_or_leaves_them_on_the_disk(tmp_path: Path):
    model = FakeModel()
    model.gate.clear()
    with running(model, journal=str(tmp_path), stop_s=0.2) as served:
        post(served, {"text": "hard"})
        post(served, {"text": "good"})
        eventually(lambda: model.seen)
        served.server.should_exit = True
        eventually(lambda: served.gateway.queue.closed)
    journal = Journal(str(tmp_path))
    assert len(journal.waiting()) == 2
    journal.close()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with running(FakeModel(), journal=str(tmp_path)) as served:
        journal = served.gateway.jobs.journal

        def full(*parts: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(journal, "write", full)
            response = served.client.post("/jobs", json={"text": "a"})
            assert response.status_code == 503
            assert "disk is full" in response.json()["error"]
        eventually(is_done(served, post(served, {"text": "a"})))


def test_what_fails_leaves_nothing_behind(tmp_path: Path):
    """The first job of a group is taken back with the second, whose id is known already."""
    journal = Journal(str(tmp_path))
    known, new, later = (accepted(Job(id, [])) for id in ("known", "new", "later"))
    journal.write([known])
    with pytest.raises(sqlite3.IntegrityError):
        journal.write([new, known])
    journal.write([later])
    assert [job.id for job in journal.waiting()] == ["known", "later"]
    journal.close()


def test_one_gateway_for_a_journal(tmp_path: Path):
    journal = Journal(str(tmp_path / "jobs"))
    with pytest.raises(ConfigError, match="is another gateway's, which runs"):
        Journal(str(tmp_path / "jobs"))
    journal.close()
    Journal(str(tmp_path / "jobs")).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        Journal(str(tmp_path / "file"))


def test_old_answers_are_forgotten_and_waiting_jobs_are_not(tmp_path: Path):
    journal = Journal(str(tmp_path))
    journal.write([accepted(Job(id, [])) for id in ("old", "waits")])
    journal.write([answered(Job("old", []), [])])
    journal.forget(3600)
    assert journal.answers("old") == []
    journal.forget(-1)
    with pytest.raises(KeyError):
        journal.answers("old")
    assert [job.id for job in journal.waiting()] == ["waits"]
    journal.close()
