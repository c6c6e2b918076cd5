"""Runs of several kinds in one call of `measure`, rules that observe, and what heads allow."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.measured import UNTIMED, call, make_run
from helpers.models import method

from eat_lightning.errors import ConfigError
from eat_lightning.measure.settings import baselines
from eat_lightning.record.point import Point
from eat_lightning.runs.row import STATIC_BASELINE, THEIRS
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model, save_model


def test_a_static_run_beside_others_has_no_tau_and_no_ratio(tmp_path: Path):
    run, static = make_run(tmp_path / "run"), make_run(tmp_path / "static", exit="never")
    encoder, labels = load_model(static / "model")
    encoder = encoder.replacing(reduction=method("reduction", "none"))
    save_model(encoder, labels, static / "model")
    given = ["taus=[0.6]", "reduction.ratio=0.2", "baselines=none", *UNTIMED]
    rows = call(f"run=[{static},{run}]", *given)
    assert [(row.point, row.reduction.arguments.get("ratio")) for row in rows] == [
        *((None, None), (0.5, 0.2), (0.6, 0.2))
    ]
    with pytest.raises(ConfigError) as caught:
        call(f"run={static}", *given)
    assert str(caught.value).splitlines() == [
        "taus needs a run whose exit rule has a knob, such as tau: none of these has",
        "reduction.ratio needs a run that reduces: none of these does",
    ]


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


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("pooled", True), ("shared", True), ("attention", False), ("past_future", False)],
)
def test_transformers_model_has_only_heads_that_pool_one_layer(
    kind: str, theirs: bool, capsys: pytest.CaptureFixture[str]
):
    slots = {"attention": "dense", "reduction": "none", "exit": "never"}
    own = Point.of(**{slot: method(slot, name) for slot, name in slots.items()})
    model: Any = {"head": {"kind": kind, "layers": [6]}, "num_layers": 6}
    found = [s.baseline for s in baselines(own, SimpleNamespace(baselines="all"), model)]
    assert found == ([STATIC_BASELINE, THEIRS] if theirs else [STATIC_BASELINE])
    assert ("has no head=" in capsys.readouterr().out) == (not theirs)
