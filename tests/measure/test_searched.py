"""Lengths searched for budgets, on the calibration cut whatever is reported on."""

from pathlib import Path

import pytest
from helpers.measured import UNTIMED, call, make_run

from eat_lightning.errors import ConfigError

pytestmark = pytest.mark.slow
SEARCH = ["reduction=lengthdrop", "reduction.iterations=1", "baselines=none", *UNTIMED]
SMALL = ["reduction.mutations=2", "reduction.crossovers=2", "reduction.layers=[2,4]"]


def searched(run: Path, *given: str) -> list:
    rows = call(f"run={run}", *SEARCH, *SMALL, "reduction.ratio=0.4", *given)
    return [row for row in rows if row.budget is not None]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = {"_target_": "eat_lightning.data.toy.ToyData", "cache_dir": str(tmp_path / "cache")}
    sizes = {"num_train": 400, "num_validation": 40, "calibration": 80}
    return make_run(tmp_path / "static", exit="never", data=data | sizes)


def test_a_row_for_each_budget_with_a_ratio_for_each_layer(run: Path):
    tight, loose = searched(run, "budgets=[0.8,1.0]")
    assert (tight.budget, loose.budget) == (0.8, 1.0)
    for row in (tight, loose):
        assert row.exit.kind == "never"
        assert len(row.reduction.arguments["ratio"]) == 2
        assert all(0 <= ratio <= 0.4 for ratio in row.reduction.arguments["ratio"])
    assert tight.flops_ratio <= loose.flops_ratio < 1.1
    (elsewhere,) = searched(run, "budgets=[0.8]", "split=certificate")
    assert elsewhere.reduction == tight.reduction


def test_a_budget_below_the_shortest_lengths_is_one_line(run: Path):
    with pytest.raises(ConfigError, match=r"^budgets: .*must be at least 0\.\d+, .*, got 0.1$"):
        searched(run, "budgets=[0.1]")
