"""Exit rules that observe signals, measured beside others."""

from pathlib import Path

import torch
from measured import UNTIMED, call, make_run

from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model


def test_a_rule_that_observes_is_recorded_beside_the_runs_own(tmp_path: Path):
    run = make_run(tmp_path / "sst2-eat-s1")
    rules = "rules=[{kind:random,layers:[3,4],rate:0.5},{kind:entropy,layers:[3,4],entropy:0.9}]"
    own, drawn, low, *_ = call(f"run={run}", "exit.tau=0.6", rules, "baselines=none", *UNTIMED)
    assert [row.knob for row in (own, drawn, low)] == ["tau", "rate", "entropy"]
    assert [row.title for row in (drawn, low)] == ["rate 0.5", "entropy 0.9"]
    encoder, _ = load_model(run / "model")
    encoder = encoder.replacing(exit=drawn.exit.build())
    with torch.inference_mode():
        trace = encoder(Run.open(run).data().split("validation").batch(range(40)))
    assert drawn.depth == trace.depth_B.double().mean()
    assert 3 < drawn.depth < 6
    assert drawn.exit_reasons.keys() == {"random", "last_layer"}
