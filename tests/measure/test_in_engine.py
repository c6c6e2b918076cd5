"""`measure backend=`: rows of a run's graphs in another engine."""

from pathlib import Path

import pytest
from helpers.measured import FAST, UNTIMED, call, make_run

from eat_lightning.errors import ConfigError
from eat_lightning.runs.row import read


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "task=sst2")


@pytest.mark.slow
def test_rows_of_graphs_say_what_the_encoder_says(run: Path):
    settings = (f"run={run}", "points=[]", "baselines=static")  # each setting is an export
    own, _ = call(*settings, *UNTIMED, "prepack=false")
    row, static = call(*settings, *FAST, "backend=onnx")
    assert (row.kernels, row.engine, row.form) == ("onnx", "onnx", "plain")
    assert (row.exit, row.reduction, row.data) == (own.exit, own.reduction, own.data)
    assert (row.accuracy, row.depth) == (own.accuracy, own.depth)
    assert (row.flops, row.adaptivity_gain) == pytest.approx((own.flops, own.adaptivity_gain))
    assert row.latency_ms > 0
    assert (static.baseline, static.kernels, static.speed_up) == ("own static", "onnx", 1.0)
    assert {each.engine for each in read(run / "rows.jsonl")} == {"torch", "onnx"}


def test_a_rule_that_no_graph_holds_is_refused(run: Path):
    with pytest.raises(ConfigError, match="backend=onnx: exit=random observes a signal"):
        call(f"run={run}", *UNTIMED, "backend=onnx", "rules=[{kind:random}]")
