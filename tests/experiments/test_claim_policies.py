"""The table of policies says what the rows say."""

import json
import runpy
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from test_rows import row

SCRIPT = Path(__file__).parents[2] / "experiments" / "policies.py"


def told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(folder)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_rule_and_policy_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    plain = row(exit_reasons={"confident": 0.75, "last_layer": 0.25})
    veto = {"kind": "veto", "margin": 0.9, "run": "somewhere/task=sst2,model=minilm"}
    reasons = {"confident": 0.5, "last_layer": 0.25, "vetoed": 0.25}
    asked = row(policy=[veto], exit_reasons=reasons, accuracy=0.925)
    for name, given in (("rows.jsonl", plain), ("rows-policy.jsonl", asked)):
        (tmp_path / name).write_text(json.dumps(asdict(given)) + "\n")
    told(tmp_path, monkeypatch)
    words = capsys.readouterr().out.split()
    assert {"91.00", "92.50", "75.0", "50.0", "25.0", "tau", "0.9", "model=minilm"} <= {*words}


def test_rows_that_know_no_reasons_are_not_taken_for_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "rows.jsonl").write_text(json.dumps(asdict(row())) + "\n")
    with pytest.raises(SystemExit):
        told(tmp_path, monkeypatch)
    assert "no rows of this version" in capsys.readouterr().err
