"""Drift in the gateway: an alarm turns it to full depth, calm brings it back, and both are told."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import make_run
from gateways import FakeModel, running, settings

from eat_lightning import serve
from eat_lightning.drift.decisions import DecisionLog
from eat_lightning.drift.observation import Observation
from eat_lightning.drift.reference import Reference, watched
from eat_lightning.errors import ConfigError
from eat_lightning.runs import Run
from eat_lightning.serving.decisions import Decisions
from eat_lightning.serving.model import open_model
from eat_lightning.serving.question import Example

DRIFT = {"monitor": True, "fallback": True, "run_length": 100}
DRIFT |= {"window": 50, "calm": 10, "psi": 0.5}
TEXTS = [" ".join(["good", "bad", "film", "not"][i % 4 : 1 + i % 5]) for i in range(60)]


def normal(i: int) -> Observation:
    return Observation(0.9 + 0.001 * (i * 7 % 90), 3, 0.8, 5 + i % 20, i % 2)


def strange(i: int) -> Observation:
    return Observation(0.55, 6, 0.5, 200 + i % 20, 1)


class Watched(FakeModel):
    """Texts that begin with "strange" look it."""

    def __init__(self) -> None:
        super().__init__()
        self.about = replace(self.about, normal=[normal(i) for i in range(300)])
        self.count = 0

    def stream(self, examples: list[Example], full_depth: bool = False) -> Iterator[Any]:
        for places, answers in super().stream(examples, full_depth):
            for place, answer in zip(places, answers, strict=True):
                self.count += 1
                looks = strange if examples[place].texts[0].startswith("strange") else normal
                answer["seen"] = looks(self.count)
            yield places, answers


def test_full_depth_from_the_alarm_to_the_return(tmp_path: Path):
    model, decisions = Watched(), Decisions(DecisionLog(tmp_path / "log"))
    with running(model, drift=DRIFT, decisions=decisions, max_texts=50) as served:

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


def test_without_fallback_there_is_only_the_alarm():
    with running(Watched(), drift=DRIFT | {"fallback": False}, max_texts=50) as served:
        for _ in range(10):
            answers = served.say({"examples": ["strange"] * 10}).json()["answers"]
            assert {a["depth"] for a in answers} == {3}
        assert served.client.get("/live").json()["drift"] == "drifted"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", "dense", "norm_topk", "confidence")


def seen_by(run: Path, full_depth: bool) -> list[Observation]:
    config = settings(run=str(run), drift=DRIFT)
    model = open_model(config)
    found: dict[int, dict] = {}
    for places, answers in model.stream([Example([t]) for t in TEXTS], full_depth):
        found |= dict(zip(places, answers, strict=True))
    assert {found[i]["exit_reason"] for i in found} <= (
        {"fallback"} if full_depth else {"confident", "last_layer"}
    )
    assert not full_depth or {found[i]["depth"] for i in found} == {3}
    return [found[i]["seen"] for i in range(len(TEXTS))]


def test_a_model_tells_what_its_exits_do_or_would_have_done(run: Path):
    with pytest.raises(ConfigError, match=r"has no drift\.json"):
        open_model(settings(run=str(run), drift=DRIFT))
    opened = Run.open(run)
    encoder, _ = opened.model()
    known = [normal(i) for i in range(60)]
    Reference(known, watched(opened, encoder)).write(opened)
    early, deep = seen_by(run, False), seen_by(run, True)
    assert len({each.depth for each in early}) > 1
    for a, b in zip(early, deep, strict=True):
        assert a.confidence == pytest.approx(b.confidence, abs=1e-5)
        assert (a.depth, a.tokens, a.label) == (b.depth, b.tokens, b.label)
        assert a.retention == pytest.approx(b.retention)
    assert open_model(settings(run=str(run), drift=DRIFT)).about.normal == known
    exit = {"tau": 0.99, "layers": None, "patience": None}
    with pytest.raises(ConfigError, match=r"drift\.json holds for another"):
        open_model(settings(run=str(run), drift=DRIFT, exit=exit))
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        ({"monitor": "yes"}, "drift.monitor must be true or false, got 'yes'"),
        ({"window": 3}, "drift.window must be 50 or more, got 3"),
        ({"run_length": 1}, "drift.run_length must be 10 or more, got 1"),
    ],
)
def test_wrong_settings(drift: dict, said: str):
    assert serve.setting_faults(settings(drift=DRIFT | drift)) == [said]
    onnx = serve.setting_faults(settings(backend="onnx", drift=DRIFT))
    assert onnx == [
        "drift.monitor is not an option of backend=onnx: the export has its exits in its graphs"
    ]
