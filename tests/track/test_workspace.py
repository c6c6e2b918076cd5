"""The workspace's spec, without a server: its panels name what runs log."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.finished import config_of

from eat_lightning.track.__main__ import workspace

pytest.importorskip("wandb_workspaces", reason="pip install wandb-workspaces")
# pydantic's, of wandb-workspaces 0.4.13
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("spec") / "workspace.json"
    workspace(config_of("track", f"file={file}", "exits=[3,6]", "group=[reduction.ratio]"))
    return json.loads(file.read_text())["section"]


def test_a_section_for_each_question(spec: dict[str, Any]):
    sections = spec["panelBankConfig"]["sections"]
    names = [section["name"] for section in sections]
    assert names == ["Frontier", "Sweeps", "Exits", "Reduction", "Calibration", "Training"]
    assert all(section["panels"] for section in sections)
    assert spec["settings"]["xAxis"] == "trainer/global_step"


def panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [p["config"] for s in spec["panelBankConfig"]["sections"] for p in s["panels"]]


def test_panels_name_what_runs_log(spec: dict[str, Any]):
    found = panels(spec)
    axes = [(p["xAxis"], p["yAxis"]) for p in found if p.get("xAxis", "").startswith("summary:")]
    assert ("summary:dev/latency_ms", "summary:dev/score") in axes
    assert ("summary:dev/flops_ratio", "summary:dev/adaptivity_gain") in axes
    tables = [p["userQuery"]["queryFields"][0]["fields"][0] for p in found if "userQuery" in p]
    keys = [table["args"][0]["value"] for table in tables]
    assert keys == [
        "frontier/latency_table",
        "frontier/flops_table",
        *["frontier/flops_table"] * 3,  # by tau, by budget, and the gain by budget
        "calibration/reliability_table",
    ]
    bars = [p["metrics"] for p in found if "metrics" in p and "ece_before_exit_3" in str(p)]
    assert [len(metrics) for metrics in bars] == [4]
    lines = {p["chartTitle"]: p for p in found if p.get("xAxis", "").startswith("train")}
    assert lines["Retention against strength"]["xAxis"] == "train/strength"
    assert lines["Share that leaves at each exit"]["metricRegex"] == "select/exit_share_.*"
    assert lines["Depth under the exit rule"]["metrics"] == ["select/depth"]


def test_without_an_account_the_spec_is_a_file(outputs: Path, capsys: pytest.CaptureFixture[str]):
    workspace(
        config_of(
            "track",
        )
    )
    message = capsys.readouterr().out
    assert (
        message
        == f"{outputs / 'workspace.json'}: the workspace's spec (no W&B account: wandb "
        + ("login, then this command saves it)\n")
    )
    assert (outputs / "workspace.json").is_file()
