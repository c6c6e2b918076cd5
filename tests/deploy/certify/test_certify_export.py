"""A certificate of an export: chosen from what its graphs say, used there and nowhere else."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.certificates import config_of
from helpers.exports import make_run, shared_export
from helpers.finished import refused

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.certify.command import certify
from eat_lightning.record.certificate import Certificate
from eat_lightning.runs.run import Run

pytest.importorskip("onnxscript")
LEVEL = ("risk=harm", "level=0.3")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run and, beside it, an export of it that leaves early, at tau 0.75 and 0.7."""
    run = Path(shutil.copytree(shared_export(), tmp_path / "runs/run"))
    (run / "graphs/onnx-fp32").rename(tmp_path / "runs/onnx")
    return tmp_path / "runs"


def call(runs: Path, *overrides: str, onnx: str = "onnx") -> Certificate:
    given = (f"onnx='{runs / onnx}'", *overrides)
    certificate = certify(config_of("certify", runs / "run", *given))
    return certificate


def test_what_is_chosen_is_what_the_graphs_do(runs: Path, capsys: pytest.CaptureFixture):
    certificate = call(runs, *LEVEL)
    assert not certificate.fallback
    path = runs / "onnx/certificates/harm-0.3-0.95.json"
    assert Certificate(**json.loads(path.read_text())) == certificate
    assert not (runs / "run/certificates").exists()
    held, point = certificate.holds_for, certificate.point
    assert (point.engine, point.dtype, held["device"]) == ("onnx", "fp32", "cpu")
    assert "torch" not in held
    assert f"saved: {path}" in capsys.readouterr().out
    rule = point.methods["exit"]
    assert min(rule.arguments["tau"]) >= 0.7
    # The same from running the export with that rule, and at full depth.
    export = GraphModel(runs / "onnx", 1)
    split = Run.open(runs / "run").data().split("certificate")
    answerer = export.with_rules(certificate.name)
    answers = answerer.answer([list(split.text(i)) for i in range(len(split))])
    full_B = answerer.record(split).guesses[3].argmax(-1)
    labels = list(answerer.labels)
    early_B = np.array([labels.index(answer["label"]) for answer in answers])
    harm_B = (full_B == split.labels) & (early_B != split.labels)
    assert certificate.seen["num_examples"] == len(split)
    assert certificate.seen["risk"] == pytest.approx(harm_B.mean())
    assert certificate.seen["depth"] == pytest.approx(np.mean([a["depth"] for a in answers]))
    assert min(a["depth"] for a in answers) < 3
    assert certificate.seen["flops_ratio"] < certificate.seen["full_flops_ratio"]


def test_a_stricter_tau_than_the_graphs_own(runs: Path):
    """Depths are those of the run in torch with that tau."""
    certificate = call(runs, *LEVEL, "taus=[0.8]")
    assert certificate.methods["exit"].tau == 0.8
    texts = [[" ".join(["good", "bad", "film", "not"][i % 4 : 1 + i % 5])] for i in range(30)]
    export = GraphModel(runs / "onnx", 1)
    ours = export.with_rules(certificate.name).answer(texts)
    theirs = TorchModel.open(runs / "run", exit={"tau": 0.8}).answer(texts)
    assert [a["depth"] for a in ours] == [a["depth"] for a in theirs]
    lax = export.with_rules().answer(texts)
    assert sum(a["depth"] for a in lax) < sum(a["depth"] for a in ours)
    (single,) = export.with_rules(certificate.name).answer(texts[:1])
    assert single["depth"] == ours[0]["depth"]


def test_no_point_is_laxer_than_the_graphs(runs: Path):
    said = call(runs, *LEVEL, "taus=[0.9,0.5]", "level=0.9")
    assert said.point.methods["exit"].arguments["tau"] == 0.9
    lax = call(runs, *LEVEL, "level=0.9")
    assert lax.point.methods["exit"].arguments == {"tau": [0.75, 0.7], "layers": [1, 2]}
    assert len(call(runs, *LEVEL, "exits=each").point.methods["exit"].arguments["layers"]) in (1, 2)
    one = call(runs, *LEVEL, "layers=[2]", "level=0.9", "name=one")
    assert one.point.methods["exit"].arguments["layers"] == [2]
    found = GraphModel(runs / "onnx", 1).with_rules("one").answer([["good"]] * 3)
    assert {answer["depth"] for answer in found} <= {2, 3}


def test_another_combination_is_refused(runs: Path):
    name = call(runs, *LEVEL).name
    torch_made = certify(config_of("certify", runs / "run", *LEVEL, "name=torch"))
    export = GraphModel(runs / "onnx", 1)
    shutil.copytree(runs / "run/certificates", runs / "onnx/certificates", dirs_exist_ok=True)
    message = refused(export.with_rules, "torch")
    assert "engine (torch there, onnx here)" in message
    shutil.copy(runs / f"onnx/certificates/{name}.json", runs / "run/certificates")
    message = refused(partial(TorchModel.open, certificate=name), runs / "run")
    assert "engine (onnx there, torch here)" in message
    message = refused(export.with_rules, "none-such")
    assert message == f"certificate=none-such: onnx has only {name}, torch"
    assert torch_made.point.engine == "torch"
    other = GraphModel(changed(runs / "onnx", strength=0.9), 1)
    message = refused(other.with_rules, name)
    assert message.startswith(f"certificate={name} holds for another export (")


def changed(onnx: Path, **fields: Any) -> Path:
    """The same folder, whose export.json says otherwise."""
    path = onnx / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return onnx


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dtype=int8"], "dtype is not an option of onnx=...: it is in the export's graphs, got"),
        (["ratios=[0.1]"], "ratios is not an option of onnx=...: it is in the export's graphs"),
        (["layers=[3]"], "layers must be among onnx="),
        (["onnx='nowhere'"], "nowhere is no exported model (export.json: "),
    ],
)
def test_a_fault_is_named(runs: Path, overrides: list[str], said: str):
    assert refused(call, runs, *LEVEL, *overrides).startswith(said)


def test_other_weights_and_rules_are_refused(runs: Path, tmp_path: Path):
    other = make_run(tmp_path / "run", "dense", "none", "confidence")
    message = refused(certify, config_of("certify", other, *LEVEL, f"onnx='{runs / 'onnx'}'"))
    assert message.endswith("is not an export of run=run's weights: export it again")
    changed(runs / "onnx", exit={"kind": "patience", "patience": 1, "layers": [1, 2]})
    message = refused(call, runs, *LEVEL)
    assert message.endswith("certify holds an export to a tau, and its exit rule is patience")
