"""The bench: who leaves is as set, shares are of what the machine can do, rows add up."""

from pathlib import Path

import numpy as np
import pytest
import torch
from benches import SIZES, config

from eat_lightning.infer.latency import undisturbed
from eat_lightning.model.shape import Shape
from eat_lightning.runs import jsonl
from experiments.bench import __main__ as entry
from experiments.bench.candidates import Field, random_weights
from experiments.bench.ceilings import Ceilings
from experiments.bench.race import median, ready, rows_of, take_turns
from experiments.bench.rows import BenchRow
from experiments.bench.workload import Pool, Workload, random_words, workloads

SHAPE = Shape(**SIZES)
LENGTHS = np.array([4, 11, 7, 21, 5, 9])
TENTHS = np.array([7, 1, 9, 3, 5, 0])
FAST = Ceilings(gflops=100, gbytes=10)


def the_workloads(batch: int = 3, leaving: float = 0.5) -> list[Workload]:
    make = random_words({"sst2": Pool(LENGTHS, TENTHS)}, leaving, 40, seed=0)
    return list(workloads({"sst2": LENGTHS}, [batch], 6, 0, make))


@pytest.fixture(scope="module")
def field() -> Field:
    return random_weights(SHAPE, 0.3, "fp32")


def test_as_many_leave_as_were_set_to(field: Field):
    workload, eat = the_workloads()[0], field["EAT"]
    with torch.inference_mode():
        traces = [eat.run(given) for given in workload.batches]
    depth_B = torch.cat([trace.depth_B for trace in traces])
    easy_B = torch.cat([given.easy_B for given in workload.batches])
    assert depth_B.tolist() == [4 if easy else 6 for easy in easy_B]
    assert int(easy_B.sum()) == 3
    tokens_LB = torch.cat([trace.tokens_LB for trace in traces], dim=1)
    lengths_B = tokens_LB[0]
    assert torch.equal(tokens_LB[2], 1 + torch.ceil(0.7 * (lengths_B - 1)).long())


def test_interval_of_a_median():
    assert median(np.array([4.0, 6.0, 20.0]) / np.array([2.0, 2.0, 5.0])) == [3.0, 2.0, 4.0]
    assert median(np.arange(5.0)) == [2.0, 0.0, 4.0]
    # P(fewer than 2 of 9 below the median) = 10 / 512 on each side: the second and the eighth
    assert median(np.arange(9.0)[::-1]) == [4.0, 1.0, 7.0]


def test_rows_say_what_was_run(tmp_path: Path, field: Field):
    workload = the_workloads()[0]
    with undisturbed(1):
        took = take_turns(ready(field.candidates, workload), workload, repeats=2)
    found = rows_of(field, workload, took, {"fp32": FAST}, race="fp32", threads=1)
    rows = {row.candidate: row for row in found}
    assert rows["static"].num_layers == 12
    assert rows["static"].speed_up[0] == rows["static half"].conversion[0] == 1
    assert rows["HF BERT"].over["BERT"] == rows["HF DistilBERT"].over["DistilBERT"] == [1, 1, 1]
    assert rows["HF BERT"].flops == rows["static"].flops
    assert rows["EAT"].depth == rows["EAT prepacked"].depth == 5
    assert rows["EAT"].flops_ratio < rows["EAT pruning"].flops_ratio < 1
    # half of six examples leave, in both batches some stay: each layer's matrices are read twice
    matrices = 6 * 2 * 16 * (4 * 16 + 2 * 32) * 4 / 6
    limit = FAST.limit_ms(rows["EAT"].flops, matrices)
    assert rows["EAT"].limit_ms == pytest.approx(limit)
    path = tmp_path / "rows.jsonl"
    jsonl.update(path, BenchRow, found)
    assert jsonl.update(path, BenchRow, found) == found


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
