"""Fixed depths beside every exit rule, what choosing gains over them, and rows of other data."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.measured import FAST, UNTIMED, call, make_run, rule
from helpers.models import method

from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.record.record import Record
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model, save_model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "sst2-eat-s1")


def test_fixed_depths_are_what_everybody_at_a_layer_gives(run: Path):
    rows = call(f"run={run}", "exit=never", "baselines=fixed", *FAST)
    batch = Run.open(run).data().split("validation").batch(range(40))
    encoder, _ = load_model(run / "model")
    with torch.inference_mode():
        guesses = encoder(batch, ALL_EXITS).guesses
    assert [row.exit.arguments for row in rows[1:]] == [{"layer": k} for k in (2, 3, 4, 6)]
    for row, layer in zip(rows[1:], (2, 3, 4, 6), strict=True):
        right = (guesses[layer].argmax(-1) == batch.labels_B).double().mean()
        assert row.accuracy == pytest.approx(float(right))
        assert (row.depth, row.exit_shares, row.knob) == (layer, {str(layer): 1.0}, None)
        assert row.latency_ms > 0
        assert row.adaptivity_gain is None
    costs = [row.flops for row in rows[1:]]
    assert costs == sorted(costs)
    assert rows[0].flops == pytest.approx(costs[-1])  # nobody leaves, and no head on the way


def test_every_exit_row_says_what_choosing_gains(run: Path):
    """By hand from the rows: the score above the line between the two depths that cost as much."""
    encoder, labels = load_model(run / "model")
    for head in encoder.heads.values():
        head.temperature.fill_(20.0)  # else all are sure
    save_model(encoder, labels, run / "model")
    rows = call(f"run={run}", "points=[0.52,0.56,0.6]", *UNTIMED)
    fixed = [row for row in rows if row.baseline == "fixed depth"]
    chosen = [row for row in rows if not row.baseline]
    assert len({row.flops for row in chosen}) > 1
    for row in chosen:
        line = np.interp(row.flops, [r.flops for r in fixed], [r.accuracy for r in fixed])
        assert row.adaptivity_gain == pytest.approx(row.accuracy - line)
        assert row.adaptivity_gain_low <= row.adaptivity_gain <= row.adaptivity_gain_high


def test_other_data_replace_nothing(run: Path):
    """Rows and records of one set of examples stay when the run is measured on another."""
    first = call(f"run={run}", "exit.tau=0.9", "baselines=none", *UNTIMED)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["grammar_seed"] = 1
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    second = call(f"run={run}", "exit.tau=0.9", "baselines=none", *UNTIMED)
    assert read(run / "rows.jsonl") == first + second
    one, other = first[0], second[0]
    assert (one.data != other.data, one.examples != other.examples) == (True, True)
    assert one.data[:8] in one.examples
    for row in (one, other):
        kept = Record.read(run / row.examples)
        trace = kept.replay(method("exit", "confidence", **rule(row)))
        right_B = trace.logits_BC.argmax(1) == kept.labels
        assert right_B.mean() == pytest.approx(row.accuracy)
