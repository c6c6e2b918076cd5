"""The bench: the interval of a median by hand, one bench from end to end, and one of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import make_run
from finished import config_of

from eat_lightning.runs import jsonl
from experiments.bench import __main__ as entry
from experiments.bench.ceilings import Ceilings
from experiments.bench.race import median
from experiments.bench.rows import BenchRow

FAST = Ceilings(gflops=100, gbytes=10)
SIZES = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "vocab_size": 40}
SMALL = {"encoder": SIZES | {"num_layers": 12}, "leaving": 0.5, "tasks": ["sst2"], "near": [8, 20]}
SMALL |= {"batches": [2], "examples": 4, "repeats": 2, "minutes": None, "force": True}


def config(to: Path, **changes: Any) -> dict[str, Any]:
    return config_of("bench") | SMALL | {"to": str(to / "bench")} | changes


def test_interval_of_a_median():
    assert median(np.array([4.0, 6.0, 20.0]) / np.array([2.0, 2.0, 5.0])) == [3.0, 2.0, 4.0]
    assert median(np.arange(5.0)) == [2.0, 0.0, 4.0]
    # P(fewer than 2 of 9 below the median) = 10 / 512 on each side: the second and the eighth
    assert median(np.arange(9.0)[::-1]) == [4.0, 1.0, 7.0]


@pytest.fixture
def no_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where neither onnxruntime nor OpenVINO is installed, and with quick ceilings."""
    monkeypatch.setattr("experiments.bench.rivals.find_spec", lambda name: None)
    monkeypatch.setattr("experiments.bench.ceilings.ceilings", lambda shape, dtype: FAST)


@pytest.mark.slow
def test_whole_bench(tmp_path: Path, no_rivals: None, capsys: pytest.CaptureFixture[str]):
    rows = entry.bench(config(tmp_path, batches=[1, 2]))
    assert len(rows) == 10 * 3  # batch 1; 2 as they come and sorted
    printed = capsys.readouterr().out
    assert "ORT: no rows, onnx, onnxscript, onnxruntime is not" in printed
    assert "EAT prepacked" in printed
    entry.bench(config(tmp_path, what="cost", batches=[1]))
    kept = jsonl.read(tmp_path / "bench" / "rows.jsonl", BenchRow)
    assert {row.race for row in kept} == {"fp32", "cost-fp32"}
    assert {row.lengths for row in kept} == {"histogram"}
    files = {path.name for path in (tmp_path / "bench").iterdir()}
    assert files == {"report.md", "rows.jsonl", "roofline-fp32.svg"}
    report = (tmp_path / "bench" / "report.md").read_text()
    assert "## cost-fp32" in report
    assert "fp32 100 GFLOP/s, 10.0 GB/s" in report


@pytest.mark.slow
def test_a_run_races_in_int8(tmp_path: Path, no_rivals: None):
    run = make_run(tmp_path / "eat", "dense", "norm_topk", "confidence")
    rows = entry.bench(config(tmp_path, run=str(run), near=None, dtype="int8"))
    by_name = {row.candidate: row for row in rows if row.order == "sorted"}
    assert {"HF int8", "static int8", "EAT int8", "EAT prepacked fp32"} <= by_name.keys()
    assert set(by_name["EAT int8"].over) == {"HF", "static", "best static"}  # no ORT
    assert by_name["EAT int8"].flops_ratio < 1
