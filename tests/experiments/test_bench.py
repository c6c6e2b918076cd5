"""The bench: the interval of a median by hand, and one bench from end to end."""

from pathlib import Path

import numpy as np
import pytest
from benches import config

from eat_lightning.runs import jsonl
from experiments.bench import __main__ as entry
from experiments.bench.ceilings import Ceilings
from experiments.bench.race import median
from experiments.bench.rows import BenchRow

FAST = Ceilings(gflops=100, gbytes=10)


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
