"""The attack keeps to its budget, repeats itself, and counts rightly."""

from pathlib import Path

import finished
import pytest
from exports import make_run

from eat_lightning.report import figures
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run
from experiments.attack.__main__ import attack
from experiments.attack.draw import figure_of
from experiments.attack.rows import AttackRow
from experiments.attack.table import table_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return make_run(folder, "dense", "norm_topk", "confidence")


def config_of(run: Path, *overrides: str) -> dict:
    small = ["examples=12", "candidates=4", "edits=2", "words=2"]
    small.append(
        "rules=[{kind: confidence, tau: 0.7}, {kind: patience, patience: 1},"
        "{kind: confidence, tau: 0.7, policy: [{kind: veto, margin: 0.9}]}, {kind: never}]"
    )
    return finished.config_of("attack", f"run='{run}'", *small, *overrides)


@pytest.mark.slow
def test_from_a_run_to_rows(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = attack(config_of(run, f"to={tmp_path}"))
    rules = ["tau 0.7", "patience 1 at 1/2", "tau 0.7, veto 0.9", "never"]
    assert [(r.goal, r.against, r.under) for r in rows] == [
        *(("slowdown", a, u) for a in rules[:3] for u in rules),
        *(("evasion", a, u) for a in rules for u in rules),
    ]
    for row in rows:
        assert row.flops_worst <= row.flops_bound
        assert row.queries_max <= 1 + 20 + 2 * 4
        assert row.edits <= 2
        if row.under == "never":
            assert (row.depth_before, row.depth_after, row.exits_after) == (3, 3, 0)
        if row.goal == "slowdown" and not row.transfer:
            assert row.depth_after >= row.depth_before
        if row.goal == "evasion" and not row.transfer:
            assert row.accuracy_after <= row.accuracy_before
    own = [r for r in rows if not r.transfer and r.goal == "slowdown"]
    assert any(r.depth_after > r.depth_before for r in own)
    path = tmp_path / "rows.jsonl"
    assert jsonl.read(path, AttackRow) == rows
    split = Run.open(run).data().split("validation")
    assert not any(split.text(i)[0] in path.read_text() for i in range(12))  # no text is kept
    assert attack(config_of(run, f"to={tmp_path}")) == rows  # the same seed, the same result
    assert len(jsonl.read(path, AttackRow)) == len(rows)
    printed = capsys.readouterr().out
    assert f"written: {path}" in printed
    assert all(rule in printed for rule in rules)
    assert [len(table_of(rows, goal).lines) for goal in ("slowdown", "evasion")] == [12, 16]
    assert figures.save(figure_of(rows), tmp_path)["png"].is_file()
