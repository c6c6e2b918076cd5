"""Drift of an export, by its own reference."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.certificates import config_of
from helpers.exports import NAME, shared_export
from test_drift import assert_alike, said, seen_by

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.deploy.drift.command import drift
from eat_lightning.errors import ConfigError
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.monitor.reference import read_reference
from eat_lightning.runs.run import Run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A run and its export."""
    pytest.importorskip("onnxscript")
    run = Path(shutil.copytree(shared_export(), tmp_path / NAME))
    return run, (run / "graphs/onnx-fp32").rename(tmp_path / "onnx")


VETO = ("policy=veto", "policy.veto.margin=0.6")
TEXTS = [[" ".join(["good", "bad", "film", "not"][i % 4 : 1 + i % 5])] for i in range(40)]


@pytest.mark.parametrize("policies", [(), (Veto(0.6),)])
def test_an_export_observes_the_same_in_both_states(pair: tuple[Path, Path], policies: Any):
    backend = GraphModel(pair[1], 1).with_rules(None, policies)
    early, _ = seen_by(backend, TEXTS, deep=False)
    exits, answers = seen_by(backend, TEXTS, deep=True)
    assert_alike(early, exits)
    assert len({each.depth for each in early}) > 1
    assert {(answer["exit_reason"], answer["depth"]) for answer in answers} == {("fallback", 3)}


def test_the_reference_of_an_export(pair: tuple[Path, Path], capsys: pytest.CaptureFixture):
    """By the export's own graphs and policies; the run's and other policies' are refused."""
    run, onnx = pair
    export = GraphModel(onnx, 1)
    drift(config_of("drift", run))
    with pytest.raises(ConfigError) as caught:
        drift(config_of("drift", run, f"onnx='{onnx}'", "stream=-"))
    how = f"eat drift run=.../{run.name} onnx={onnx}"
    assert str(caught.value) == f"onnx has no drift.json: make it with {how}"
    drift(config_of("drift", run, f"onnx='{onnx}'", *VETO))
    told = said(capsys)[-1]
    assert told["saved"] == str(onnx / "drift.json")
    backend = export.with_rules(None, (Veto(0.6),))
    kept = read_reference(backend)
    split = Run.open(run).data().split("certificate")
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    assert [s.depth for s in kept.seen] == [a["depth"] for a in answers]
    assert [round(s.retention, 6) for s in kept.seen] == [a["retention"] for a in answers]
    plain = export.with_rules()
    with pytest.raises(
        ConfigError, match=r"^drift.json holds for another policy \(veto margin 0.6"
    ):
        read_reference(plain)
    run_kept = (run / "drift.json").read_bytes()
    (onnx / "drift.json").write_bytes(run_kept)
    with pytest.raises(ConfigError, match=r"another export \(None there"):
        read_reference(backend)
