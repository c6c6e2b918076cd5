"""The gateway as a process, before real encoders: signals, killed workers."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from helpers import commands
from helpers.exports import make_run, shared_export
from helpers.gateways import eventually, plan, running, settings, without_scores
from safetensors.torch import load_file, save_file

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.command import serve
from eat_lightning.deploy.serve.model import ServedModel, open_model
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import Remote, WorkerDied
from eat_lightning.errors import ConfigError

TEXTS = [
    " ".join(["good", "bad", "film", "not", "very", "the"][i % 5 : 1 + i % 6]) for i in range(30)
]


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    commands.fork_workers(monkeypatch)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "one", "dense", "norm_topk", "confidence")


def expected(run: Path) -> list[dict[str, Any]]:
    config = settings()
    return TorchModel.open(run, exit=config["exit"]).answer([[t] for t in TEXTS])


def model_settings(run: Path, **changes: Any) -> ServeSettings:
    return plan(run=str(run), **changes)


def merged(chunks: list[Any]) -> dict[int, dict[str, Any]]:
    return {i: a for places, answers in chunks for i, a in zip(places, answers, strict=True)}


def test_a_model_streams_what_predict_says(run: Path):
    model = open_model(model_settings(run))
    found, depths = {}, []
    for places, answers in without_scores(model.stream([RequestExample([t]) for t in TEXTS])):
        found |= dict(zip(places, answers, strict=True))
        depths.append({answer["depth"] for answer in answers})
    whole = expected(run)
    assert [found[i] for i in range(len(TEXTS))] == whole
    assert depths == [{1}, {2}, {3}]  # in the order in which they leave
    deep = list(model.stream([RequestExample([text]) for text in TEXTS], True))
    assert [{answer["depth"] for answer in answers} for _, answers in deep] == [{3}]
    assert model.about.exits == [1, 2, 3]
    check_guesses(model, whole)
    asked = RequestExample([TEXTS[0]], guesses=True)
    [(_, [fallback])] = model.stream([asked], True)
    assert fallback["exit_reason"] == "fallback"  # no exit decided, so there is none to show
    assert "guesses" not in fallback


def check_guesses(model: ServedModel, whole: list[dict[str, Any]]) -> None:
    """Answers that come with the guesses of the exits on their path are the same answers."""
    examples = [RequestExample([text], guesses=i % 2 == 0) for i, text in enumerate(TEXTS)]
    found = merged(list(without_scores(model.stream(examples))))
    assert {i for i, answer in found.items() if "guesses" in answer} == {*range(0, len(TEXTS), 2)}
    for i, answer in found.items():
        *early, last = answer.pop("guesses", [answer | {"layer": answer["depth"]}])
        assert answer["confidence"] == pytest.approx(whole[i]["confidence"], abs=1e-5)
        assert answer | {"confidence": 0} == whole[i] | {"confidence": 0}
        assert (last["layer"], last["label"]) == (answer["depth"], answer["label"])
        assert last["confidence"] == pytest.approx(answer["confidence"], abs=1e-5)
        assert [guess["layer"] for guess in early] in ([], [*range(1, answer["depth"])])
        for guess in early:
            assert guess["threshold"]["name"] == "tau"
            assert guess["threshold"]["of_confidence"]
            assert guess["confidence"] < guess["threshold"]["value"]


def test_an_export_streams_the_same():
    pytest.importorskip("onnxscript")
    run = shared_export()
    model = open_model(model_settings(run / "graphs/onnx-fp32", backend="onnx"))
    graphs = {path.name for path in (run / "graphs/onnx-fp32").glob("*.onnx")}
    assert {*vars(model.model)["sessions"]} == graphs  # none is opened while a request waits
    chunks = list(without_scores(model.stream([RequestExample([text]) for text in TEXTS])))
    found = merged(chunks)
    assert len(chunks) == 3
    for i, answer in enumerate(expected(run)):
        assert found[i].pop("confidence") == pytest.approx(answer.pop("confidence"), abs=1e-5)
        assert found[i] == answer
    check_guesses(model, expected(run))


@pytest.mark.slow
def test_a_model_in_a_process_of_its_own(run: Path, tmp_path: Path):
    model = Remote(model_settings(run))
    examples = [RequestExample([text]) for text in TEXTS]
    for _ in range(2):
        chunks = list(without_scores(model.stream(examples)))
        found = merged(chunks)
        assert [found[i] for i in range(len(TEXTS))] == expected(run)
    with pytest.raises(RuntimeError):  # says so, and goes on
        list(model.stream([RequestExample([None])]))  # type: ignore[list-item]
    assert len(list(model.stream(examples[:1]))) == 1
    model.process.kill()
    with pytest.raises(WorkerDied, match="died"):
        list(model.stream(examples))
    assert not model.is_alive()
    model.close()
    with pytest.raises(ConfigError, match="is not a run folder"):
        Remote(model_settings(tmp_path))


def test_a_broken_run_is_refused_in_one_line(run: Path, tmp_path: Path):
    shutil.copytree(run, tmp_path / "nan")
    weights = tmp_path / "nan" / "model" / "model.safetensors"
    state = {key: torch.full_like(value, torch.nan) for key, value in load_file(weights).items()}
    save_file(state, weights)
    with pytest.raises(ConfigError):
        open_model(model_settings(tmp_path / "nan"))
    shutil.copytree(run, tmp_path / "cut")
    (tmp_path / "cut" / "model" / "model.safetensors").write_bytes(b"\x08\0\0")
    with pytest.raises(ConfigError) as refused:
        Remote(model_settings(tmp_path / "cut"))
    assert "\n" not in str(refused.value)


@contextmanager
def process(*overrides: str, **how: Any) -> Iterator[tuple[commands.Command, httpx.Client]]:
    with commands.Command(commands.SERVE, "port=0", *overrides, **how) as child:
        line = child.stdout.readline()
        assert line.startswith("serving "), child.stderr.read()
        url = line.split(" on ")[1].split(" ")[0]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield child, client


@pytest.mark.slow
def test_the_command_answers_reads_its_run_again_and_ends_with_status_0(run: Path, tmp_path: Path):
    """HUP takes the run that a link now leads to, and keeps the old one where that is none. TERM
    comes while requests are at work: what was accepted is answered."""
    link, other = tmp_path / "current", make_run(tmp_path / "other", "dense", "none", "never")
    link.symlink_to(run)
    with process(f"run={link}", "mode=triage", "wait_ms=2000") as (child, client):
        one = client.post("/classify", json={"text": TEXTS[3]}).json()
        assert one.pop("latency_ms") > 2000
        wanted = expected(run)[3]
        # Another number of rows takes other kernels on some processors: not bit for bit.
        assert one.pop("confidence") == pytest.approx(wanted.pop("confidence"), abs=1e-5)
        assert one == wanted
        assert child.stderr.readline().startswith("note: no certificate is in force, ")
        link.unlink()
        link.symlink_to(other)
        child.send_signal(signal.SIGHUP)
        assert child.stdout.readline() == "serving other\n"
        assert child.stderr.readline() == "reload: other is now in use\n"
        (other / "done.json").unlink()
        child.send_signal(signal.SIGHUP)
        assert "the old run stays in use" in child.stderr.readline()
        found: list[Any] = []

        def ask() -> None:
            url = client.base_url.join("/classify")
            found.append(httpx.post(url, json={"examples": TEXTS[:4]}, timeout=60).json())

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: client.get("/healthz").json()["queue"] == 12)
        child.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert {answer["depth"] for each in found for answer in each["answers"]} == {3}
        assert len(found) == 3
        assert child.wait(60) == 0


def told_when_sent(worker: Remote) -> threading.Event:
    """Set as soon as a request is in the worker's pipe."""
    sent, send = threading.Event(), worker.pipe.send

    def sending(content: Any) -> None:
        send(content)
        sent.set()

    worker.pipe.send = sending
    return sent


@pytest.mark.slow
def test_a_killed_worker_is_said_and_replaced(run: Path, capfd: pytest.CaptureFixture):
    """A request that the dying worker has been handed is never handed on: it gets 503. The worker
    is stopped first, so that it cannot answer, and killed when the request has surely been sent."""
    config = model_settings(run)
    patient = {"deadline_ms": 100_000}  # a busy machine takes long to start a worker
    with running(Remote(config), revive=lambda _: Remote(config), **patient) as served:
        for _ in range(2):
            # An answer is given before its batch is over: stopped then, it would take no other.
            eventually(lambda: not served.gateway.worker.lock.locked(), 60)
            worker = served.gateway.worker.model
            sent = told_when_sent(worker)
            os.kill(worker.process.pid, signal.SIGSTOP)
            threads, found = served.at_once({"text": "good"})
            assert sent.wait(60)
            worker.process.kill()
            threads[0].join(60)
            assert found[0].status_code == 503
            assert found[0].json() == {"error": "the worker died with this request"}
            eventually(lambda: served.gateway.worker.is_up, 100)
            assert served.say({"text": "good"}).status_code == 200
        assert served.deaths == 2
    assert capfd.readouterr().err.count("died (status -9): starting another") == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": None}, "run must name the folder of a finished run: run=outputs/..."),
        ({"host": "no.such.host.invalid"}, "host=no.such.host.invalid port=0: cannot be opened"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(run: Path, changes: dict, said: str):
    with pytest.raises(ConfigError) as refused:
        serve(settings(**({"run": str(run), "port": 0} | changes)))
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
