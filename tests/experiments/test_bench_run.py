"""The bench of a trained run: its exports, and training steps."""

from pathlib import Path

import pytest
from benches import config
from exports import make_run

from experiments.bench import __main__ as entry


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("study") / "eat", "dense", "norm_topk", "confidence")


@pytest.mark.nightly
def test_exports_race_with_the_run_they_are_of(tmp_path: Path, run: Path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    rows = entry.bench(config(tmp_path, run=str(run), batches=[2], near=[8]))
    by_name = {row.candidate: row for row in rows if row.batch == 1}
    assert by_name["ORT static int8"].over["static int8"] == [1, 1, 1]
    assert by_name["ORT EAT fp32"].depth == by_name["EAT fp32"].depth < 3
    assert by_name["ORT EAT fp32"].flops_ratio == by_name["EAT fp32"].flops_ratio < 1
    assert by_name["ORT EAT int8"].dtype == "int8"
    assert {row.weights for row in rows} == {f"{run.parent.name}/eat"}
    assert {row.order for row in rows} == {"about 8 tokens", "as they come", "sorted"}
    assert {row.lengths for row in rows} == {"dev examples"}


@pytest.mark.slow
def test_a_run_races_in_int8(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.bench.rivals.find_spec", lambda name: None)
    rows = entry.bench(config(tmp_path, run=str(run), near=None, dtype="int8"))
    by_name = {row.candidate: row for row in rows if row.order == "sorted"}
    assert {"HF int8", "static int8", "EAT int8", "EAT prepacked fp32"} <= by_name.keys()
    assert set(by_name["EAT int8"].over) == {"HF", "static", "best static"}  # no ORT
    assert by_name["EAT int8"].flops_ratio < 1


@pytest.mark.nightly
def test_openvino_answers_as_hugging_face_does(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("openvino")
    only = {"openvino": True}
    monkeypatch.setattr("experiments.bench.rivals.find_spec", only.get)
    rows = entry.bench(config(tmp_path, run=str(run), batches=[2], near=None, dtype="bf16"))
    names = {row.candidate for row in rows}
    assert {"OpenVINO fp32", "OpenVINO bf16", "EAT prepacked fp32"} <= names
    assert not any(name.startswith("ORT") for name in names)


@pytest.mark.slow
def test_a_training_step_moves_the_weights_and_counts_three_passes(tmp_path: Path, run: Path):
    rows = entry.bench(config(tmp_path, run=str(run), what="training", batches=[4], examples=8))
    by_name = {row.candidate: row for row in rows}
    assert list(by_name) == [
        f"{who} {d}" for d in ("fp32", "bf16") for who in ("HF", "static", "EAT")
    ]
    assert {row.order for row in rows} == {"as they come"}
    assert by_name["HF fp32"].flops == by_name["static bf16"].flops
    assert by_name["EAT fp32"].flops < by_name["static fp32"].flops
    assert by_name["HF fp32"].over["HF fp32"] == [1, 1, 1]
