"""What is asked of the bench, judged by rows: experiments/bench/targets.py."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from eat_lightning.runs import jsonl
from experiments.bench.rows import BenchRow
from experiments.scaling.rows import ScalingRow

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
KEPT = EXPERIMENTS / "bench" / "results" / "rows.jsonl"
TARGETS = runpy.run_path(str(EXPERIMENTS / "bench" / "targets.py"))
COST = "cost of adaptivity (time / static)"


def row(**changes: Any) -> BenchRow:
    given: dict[str, Any] = {
        **{"race": "fp32", "candidate": "EAT", "task": "sst2", "batch": 32, "dtype": "fp32"},
        **{"order": "as they come", "threads": 1, "width": 768, "num_layers": 6},
        **{"num_examples": 64, "repeats": 3, "mean_length": 25.0, "padding_factor": 2.0},
        **{"ms": [10.0, 9.0, 12.0], "flops": 1e9, "depth": 5.0, "flops_ratio": 0.6},
        **{"speed_up": [1.5, 1.4, 1.6], "gflops_ceiling": 110.0, "gbytes_ceiling": 20.0},
        **{"limit_ms": 9.5, "session": "a"},
        "over": {"BERT": [6.0, 5.5, 6.2], "DistilBERT": [2.7, 2.6, 2.8]},
    }
    return BenchRow(**given | changes)


def judged(*rows: BenchRow) -> dict[str, tuple[str, str, str]]:
    table = TARGETS["table_of"](rows)
    return {
        line.what: (line.wanted, line.reached, line.verdict)
        for line in table.itertuples(index=False)
        if line.candidate != "HF BERT"
    }


def test_verdicts_by_hand():
    bert = row(candidate="HF BERT", flops=3e9, ms=[60.0] * 3, over={"BERT": [1.0] * 3})
    other = row(candidate="HF BERT", flops=6e9, session="b", task="qqp")  # not timed by turns
    found = judged(row(), bert, other)
    assert found["conversion at batch 32"] == (
        *("≥ 0.95", "0.90 (0.84 to 0.96)", "missed, within noise"),
    )
    # 0.95 x padding 2 x FLOPs 3e9 / 1e9
    assert found["EAT over HF BERT, 0.95 x FLOPs ratio x padding"] == (
        *("≥ 5.70", "6.00 (5.50 to 6.20)", "met, within noise"),
    )
    assert found["EAT over HF DistilBERT, batch 32"][2] == "met"
    # 1e9 FLOPs in 10 ms (12, 9) of 110 GFLOP/s
    assert found["share of the matrix rate, batch 32"] == (
        *("≥ 0.90", "0.91 (0.76 to 1.01)", "met, within noise"),
    )


@pytest.mark.parametrize(
    ("over", "verdict"),
    [([0.98, 0.96, 1.0], "met, within noise"), ([0.9, 0.88, 0.92], "missed")],
)
def test_cost_must_be_at_most(over: list[float], verdict: str):
    found = judged(row(race="cost-fp32", candidate="off, norm scores", over={"static": over}))
    assert found[COST][0] == "≤ 1.03"
    assert found[COST][2] == verdict


def test_kept_rows_are_read():
    kept = jsonl.read(KEPT, BenchRow)
    assert len(TARGETS["table_of"](kept)) > len(TARGETS["TARGETS"])
    assert jsonl.read(EXPERIMENTS / "scaling" / "results" / "rows.jsonl", ScalingRow)
