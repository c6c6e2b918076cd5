"""Drift in the gateway: an alarm turns it to full depth, calm brings it back, and both are told."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.exports import make_run
from helpers.gateways import FakeModel, Running, plan, running

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.model import open_model
from eat_lightning.errors import ConfigError
from eat_lightning.monitor.observation import Observation
from eat_lightning.monitor.reference import Reference, made_with
from eat_lightning.runs.run import Run

DRIFT = {"monitor": True, "fallback": True, "run_length": 100}
DRIFT |= {"window": 50, "calm": 10, "psi": 0.5, "state": None}
TEXTS = [" ".join(["good", "bad", "film", "not"][i % 4 : 1 + i % 5]) for i in range(60)]


def normal(i: int) -> Observation:
    return Observation(0.9 + 0.001 * (i * 7 % 90), 3, 0.8, 5 + i % 20, i % 2)


def strange(i: int) -> Observation:
    return Observation(0.55, 6, 0.5, 200 + i % 20, 1)


NORMAL = Reference([normal(i) for i in range(300)], {"weights": "a"})


class Watched(FakeModel):
    """Texts that begin with "strange" look it."""

    def __init__(self) -> None:
        super().__init__()
        self.about = replace(self.about, normal=NORMAL)
        self.count = 0

    def stream(self, examples: list[RequestExample], deep: bool = False) -> Iterator[Any]:
        for places, answers in super().stream(examples, deep):
            for place, answer in zip(places, answers, strict=True):
                self.count += 1
                looks = strange if examples[place].texts[0].startswith("strange") else normal
                answer["seen"] = looks(self.count)
            yield places, answers


def test_full_depth_from_the_alarm_to_the_return(tmp_path: Path):
    log = str(tmp_path / "log")
    with running(Watched(), drift=DRIFT, log=log, max_texts=50) as served:

        def say(text: str, times: int) -> list[dict[str, Any]]:
            answers = []
            for _ in range(times):
                answers += served.say({"examples": [text] * 10}).json()["answers"]
            return answers

        assert {a["depth"] for a in say("usual", 10)} == {3}
        assert served.client.get("/live").json()["drift"] == "steady"
        shifted = say("strange", 20)
        assert "seen" not in shifted[0]
        depths = [a["depth"] for a in shifted]
        assert depths == sorted(depths)  # 3 up to the alarm, 6 from there
        assert (depths[0], depths[-1]) == (3, 6)
        live = served.client.get("/live").json()
        assert (live["drift"], live["events"][0]["event"]) == ("drifted", "alarm")
        text = served.client.get("/metrics").text
        assert 'eat_drift_state{state="drifted"} 1.0' in text
        feature = live["events"][0]["feature"]
        assert f'eat_drift_alarms_total{{feature="{feature}"}} 1.0' in text
        assert say("usual", 20)[-1]["depth"] == 3  # calm again
        assert [e["event"] for e in served.client.get("/live").json()["events"]] == [
            "alarm",
            "return",
        ]
        served.client.post("/reload", json={})  # a model without a reference
        assert served.client.get("/live").json()["drift"] == "off"
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines if "event" in line] == ["alarm", "return"]
    assert {line["drift"] for line in lines} == {"steady", "drifted"}
    assert "strange" not in (tmp_path / "log").read_text()


def alarmed(served: Running) -> bool:
    for _ in range(20):
        served.say({"examples": ["strange"] * 10})
    return served.client.get("/live").json()["drift"] == "drifted"


def test_an_alarm_outlives_the_gateway(tmp_path: Path, capfd: pytest.CaptureFixture):
    """Stopped, started anew: still at full depth, since when it was, and calm brings it back."""
    kept = DRIFT | {"state": str(tmp_path)}
    with running(Watched(), drift=kept, max_texts=50) as served:
        assert alarmed(served)
        before = served.client.get("/live").json()
    assert [path.name for path in tmp_path.iterdir()] == ["drift.json"]
    with running(Watched(), drift=kept, max_texts=50) as served:
        live = served.client.get("/live").json()
        assert (live["drift"], live["drift_since"]) == ("drifted", before["drift_since"])
        assert live["drift_seen"] == before["drift_seen"]
        text = served.client.get("/metrics").text
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
        assert float(lines["eat_drift_since_seconds"]) == before["drift_since"]
        assert served.say({"text": "usual"}).json()["depth"] == 6
        for _ in range(20):
            served.say({"examples": ["usual"] * 10})
        assert served.client.get("/live").json()["drift"] == "steady"
    with running(Watched(), drift=kept) as served:
        assert served.client.get("/live").json()["drift"] == "steady"
    alarm, steady = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"drift: alarm after \d+ answers, \w+ moved", alarm)
    assert re.fullmatch(r"drift: steady again after \d+ answers", steady)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: kept["monitor"].update(sums=[[1]]), "(cannot reshape array"),
        (lambda kept: kept["monitor"]["chance"].pop("state"), "('state'): starting anew"),
        (lambda kept: kept.update(monitor=None), "is ignored ("),
        (lambda kept: kept.update(name="other"), "(of another reference, run or settings)"),
    ],
)
def test_what_is_not_its_own_is_left_out(tmp_path: Path, capfd, change: Any, said: str):
    kept = DRIFT | {"state": str(tmp_path)}
    with running(Watched(), drift=kept, max_texts=50) as served:
        assert alarmed(served)
    path = tmp_path / "drift.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with running(Watched(), drift=kept) as served:
        assert served.client.get("/live").json()["drift"] == "steady"
        assert served.say({"text": "usual"}).json()["depth"] == 3
    alarm, line = capfd.readouterr().err.splitlines()
    assert alarm.startswith("drift: alarm after ")
    assert line.startswith(f"drift: the state in {path} is ignored (")
    assert said in line


def test_a_reload_of_the_same_reference_keeps_what_was_learnt():
    """Else a reload would open exits that an alarm has shut."""
    with running(Watched(), revive=lambda plan: Watched(), drift=DRIFT, max_texts=50) as served:
        assert alarmed(served)
        served.client.post("/reload", json={})
        assert served.client.get("/live").json()["drift"] == "drifted"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", "dense", "norm_topk", "confidence")


def test_a_model_tells_what_its_exits_do(run: Path):
    with pytest.raises(ConfigError, match=r"has no drift\.json"):
        open_model(plan(run=str(run), drift=DRIFT))
    opened = Run.open(run)
    known = [normal(i) for i in range(60)]
    Reference(known, made_with(TorchModel.open(opened.folder))).write(run)
    model = open_model(plan(run=str(run), drift=DRIFT))
    chunks = list(model.stream([RequestExample([text]) for text in TEXTS]))
    answers = [answer for _, answers in chunks for answer in answers]
    assert len(answers) == len(TEXTS)
    assert len({answer["depth"] for answer in answers}) > 1
    for answer in answers:
        seen = answer["seen"]
        assert (seen.depth, round(seen.retention, 6)) == (answer["depth"], answer["retention"])
    assert model.about.normal is not None
    assert model.about.normal.seen == known
    with pytest.raises(ConfigError, match=r"drift\.json holds for another"):
        open_model(plan(run=str(run), drift=DRIFT, exit={"tau": 0.99}))
    assert not torch.is_inference_mode_enabled()
