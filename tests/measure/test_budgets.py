"""Budgets: a point for each exit, fitted on the calibration cut whatever is reported on."""

from pathlib import Path

import pytest
from helpers.measured import UNTIMED, call, make_run

from eat_lightning.errors import ConfigError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "sst2-eat-s1")


def budgeted(*given: str) -> list:
    rows = call(*given, "baselines=none", *UNTIMED)
    return [row for row in rows if row.budget is not None]


def test_a_row_for_each_budget_with_a_point_for_each_exit(run: Path, capsys: pytest.CaptureFixture):
    tight, loose = budgeted(f"run={run}", "budgets=[0.6,0.9]")
    assert (tight.budget, loose.budget) == (0.6, 0.9)
    for row in (tight, loose):
        assert row.knob == "tau"
        assert len(row.point) == len(row.exit.arguments["layers"]) == 2
        assert row.adaptivity_gain is not None
    shown = " ".join(capsys.readouterr().out.split())
    assert f"ratio {tight.reduction.arguments['ratio']} for" in shown


def test_what_is_reported_on_does_not_change_the_fit(run: Path):
    (on_dev,) = budgeted(f"run={run}", "budgets=[0.7]")
    (elsewhere,) = budgeted(f"run={run}", "budgets=[0.7]", "split=certificate")
    assert on_dev.point == elsewhere.point


def test_each_rule_of_the_call_is_fitted_once(run: Path, capsys: pytest.CaptureFixture[str]):
    rules = "{kind:margin,lead:0.3},{kind:margin,lead:0.6},{kind:patience}"
    rows = budgeted(f"run={run}", "taus=[0.6]", f"rules=[{rules}]", "budgets=[0.7]")
    assert sorted((row.exit.kind, row.budget) for row in rows) == [
        (kind, 0.7) for kind in ("confidence", "margin")
    ]
    said = f"{run.name}: not fitted for budgets: patience (no knob to turn)"
    assert said in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (["budgets=[1.5]"], r"budgets.0 must be in \(0, 1\], a share .* 12ms, got 1.5"),
        (["budgets=[0.01]"], r"sst2-eat-s1: budget must be at least 0\.\d+.*, got 0.01"),
    ],
)
def test_bad_budgets_are_one_line(run: Path, given: list[str], fault: str):
    with pytest.raises(ConfigError, match=fault):
        call(f"run={run}", *given, *UNTIMED)


def test_a_run_without_exits_has_nothing_to_fit(tmp_path: Path):
    run = make_run(tmp_path / "static", exit="never")
    with pytest.raises(ConfigError, match="budgets needs a run whose exit rule has a knob"):
        call(f"run={run}", "budgets=[0.5]", *UNTIMED)
