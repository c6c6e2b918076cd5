"""The bench of a trained run: its exports, joined texts, training steps, and what is judged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import make_run, shapes_unchecked
from models import ragged, tiny
from test_bench import config

from eat_lightning.bench import __main__ as entry
from eat_lightning.bench.speed import targets
from eat_lightning.bench.speed.contestants import Work
from eat_lightning.bench.speed.deployed import easy, join, near
from eat_lightning.bench.speed.rows import BenchRow, read
from eat_lightning.bench.speed.training import steps
from eat_lightning.model.packed import Batch
from eat_lightning.runs.run import Run

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("study") / "eat", "dense", "norm_topk", "confidence")


@pytest.mark.slow
def test_exports_race_with_the_run_they_are_of(tmp_path: Path, run: Path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    with shapes_unchecked():
        rows = entry.bench(config(tmp_path, run=str(run), batches=[2], near=[8]))
    by_name = {row.contestant: row for row in rows if row.batch == 1}
    assert by_name["ORT static int8"].over["static int8"] == [1, 1, 1]
    assert by_name["ORT EAT fp32"].depth == by_name["EAT fp32"].depth < 3
    assert by_name["ORT EAT fp32"].flops_ratio == by_name["EAT fp32"].flops_ratio < 1
    assert by_name["ORT EAT int8"].dtype == "int8"
    assert {row.weights for row in rows} == {f"{run.parent.name}/eat"}
    assert {row.order for row in rows} == {"about 8 tokens", "as they come", "sorted"}
    table = (tmp_path / "bench" / "targets.md").read_text()
    assert "deployed int8 over the static int8 export" in table


def test_a_run_races_in_int8(tmp_path: Path, run: Path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    with shapes_unchecked():
        rows = entry.bench(config(tmp_path, run=str(run), batches=[2], near=[8], dtype="int8"))
    by_name = {row.contestant: row for row in rows if row.batch == 1}
    assert {"HF int8", "static int8", "EAT int8", "ORT EAT int8"} <= by_name.keys()
    assert by_name["EAT int8"].over["static int8"] != [1, 1, 1]
    assert by_name["EAT int8"].flops_ratio < 1


def test_openvino_answers_as_hugging_face_does(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("openvino")
    only = {"openvino": True}
    monkeypatch.setattr("eat_lightning.bench.speed.peers.find_spec", only.get)
    rows = entry.bench(config(tmp_path, run=str(run), batches=[2], near=None, dtype="bf16"))
    names = {row.contestant for row in rows}
    assert {"OpenVINO fp32", "OpenVINO bf16", "EAT prepacked fp32"} <= names
    assert not any(name.startswith("ORT") for name in names)


def test_a_training_step_moves_the_weights_and_counts_three_passes(tmp_path: Path, run: Path):
    rows = entry.bench(config(tmp_path, run=str(run), what="training", batches=[4], examples=8))
    by_name = {row.contestant: row for row in rows}
    assert list(by_name) == [
        f"{who} {d}" for d in ("fp32", "bf16") for who in ("HF", "static", "EAT")
    ]
    assert {row.order for row in rows} == {"as they come"}
    assert by_name["HF fp32"].flops == by_name["static bf16"].flops
    assert by_name["EAT fp32"].flops < by_name["static fp32"].flops
    assert by_name["HF fp32"].over["HF fp32"] == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("who", ["HF", "static", "EAT"])
def test_each_loop_learns(who: str, dtype: str):
    batch = ragged()
    batch.labels_B = torch.tensor([0, 1, 2, 0, 1])
    entry = next(c for c in steps(tiny()).contestants if c.name == f"{who} {dtype}")
    step: Any = entry.run
    before = [p.detach().clone() for p in step.model.parameters()]
    with torch.inference_mode():  # as in a race
        step(entry.ready(Work(batch, easy(5))))
    assert any(not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))
    assert all(p.grad is None for p in step.model.parameters())


def test_texts_are_joined_between_one_beginning_and_one_end():
    batch = Batch.from_lists(
        [[CLS, 11, 12, SEP, 21, SEP], [CLS, 13, SEP, 22, 23, SEP]],
        [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]],
    )
    whole = join(batch, 40)
    assert whole.ids_N.tolist() == [CLS, 11, 12, 13, SEP, 21, 22, 23, SEP]
    assert whole.types_N.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert join(batch, 7).ids_N.tolist() == [CLS, 11, 12, SEP, 21, 22, SEP]
    assert whole.lengths_B.tolist() == [9]


def test_examples_of_about_a_length(run: Path):
    split = Run.open(run).data().split("validation")
    usual = int(np.median(split.lengths))
    works, said = near(split, usual, 5)
    assert said == f"about {usual} tokens"
    assert all(abs(int(work.batch.lengths_B) - usual) <= 1 for work in works)
    works, said = near(split, 60, 3)  # longer than any
    assert said == "about 60 tokens, joined"
    assert all(48 <= int(work.batch.lengths_B) <= 60 for work in works)


def row(**changes: Any) -> BenchRow:
    given: dict[str, Any] = {
        **{"race": "fp32", "contestant": "EAT", "task": "sst2", "batch": 32, "dtype": "fp32"},
        **{"order": "as they come", "threads": 1, "width": 768, "num_layers": 6},
        **{"num_examples": 64, "repeats": 3, "mean_length": 25.0, "padding_factor": 2.0},
        **{"ms": 10.0, "ms_low": 9.0, "ms_high": 12.0, "flops": 1e9, "depth": 5.0},
        **{"flops_ratio": 0.6, "speed_up": 1.5, "speed_up_low": 1.4, "speed_up_high": 1.6},
        **{"conversion": 0.9, "gflops_ceiling": 110.0, "gbytes_ceiling": 20.0, "limit_ms": 9.5},
        **{"distance": 1.1, "peak_share": 0.91, "session": "a"},
        "over": {"BERT": [6.0, 5.5, 6.2], "DistilBERT": [2.7, 2.6, 2.8]},
    }
    return BenchRow(**given | changes)


def judged(rows: list[BenchRow]) -> dict[tuple[str, str], tuple[str, str, str]]:
    lines = [line.cells for line in targets.table_of(rows).lines]
    return {
        (str(line["target"].value), str(line["contestant"].value)): (
            line["bound"].text,
            line["reached"].text,
            line["verdict"].text,
        )
        for line in lines
    }


def test_verdicts_by_hand():
    bert = row(contestant="HF BERT", flops=3e9, ms=60.0, over={"BERT": [1.0, 1.0, 1.0]})
    found = judged([row(), bert])
    assert found["conversion at batch 32", "EAT"] == (
        *("≥ 0.95", "0.90 (0.84 to 0.96)", "missed, within noise"),
    )
    # 0.95 x padding 2 x FLOPs 3e9 / 1e9
    assert found["EAT over HF BERT, 0.95 x FLOPs ratio x padding", "EAT"] == (
        *("≥ 5.70", "6.00 (5.50 to 6.20)", "met, within noise"),
    )
    assert found["EAT over HF DistilBERT, batch 32", "EAT"][2] == "met"
    assert found["share of the matrix rate, batch 32", "EAT"] == (
        *("≥ 0.90", "0.91 (0.76 to 1.01)", "met, within noise"),
    )


def test_cost_must_be_at_most():
    off = {"race": "cost-fp32", "contestant": "off, norm scores"}
    found = judged([row(**off, over={"static": [0.98, 0.96, 1.0]})])
    name = "cost of adaptivity (time / static)"
    assert found[name, "off, norm scores"] == ("≤ 1.03", "1.02 (1.00 to 1.04)", "met, within noise")
    found = judged([row(**off, over={"static": [0.9, 0.88, 0.92]})])
    assert found[name, "off, norm scores"][2] == "missed"


def test_heats_of_two_sessions_are_not_mixed():
    bert = row(contestant="HF BERT", flops=3e9, ms=60.0)
    other = row(contestant="HF BERT", flops=6e9, session="b", task="qqp")
    found = judged([row(), bert, other])
    assert found["EAT over HF BERT, 0.95 x FLOPs ratio x padding", "EAT"][0] == "≥ 5.70"


def test_kept_rows_are_read():
    kept = Path("experiments") / "results" / "bench" / "rows.jsonl"
    rows = read(Path(__file__).parents[2] / kept)
    assert rows
    assert targets.table_of(rows).lines
