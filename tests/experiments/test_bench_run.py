"""The bench of a trained run: its exports, and training steps."""

from pathlib import Path

import pytest
from benches import config
from exports import make_run

from experiments.bench import __main__ as entry


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("study") / "eat", "dense", "norm_topk", "confidence")


@pytest.mark.slow
def test_a_run_races_in_int8(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.bench.rivals.find_spec", lambda name: None)
    rows = entry.bench(config(tmp_path, run=str(run), near=None, dtype="int8"))
    by_name = {row.candidate: row for row in rows if row.order == "sorted"}
    assert {"HF int8", "static int8", "EAT int8", "EAT prepacked fp32"} <= by_name.keys()
    assert set(by_name["EAT int8"].over) == {"HF", "static", "best static"}  # no ORT
    assert by_name["EAT int8"].flops_ratio < 1
