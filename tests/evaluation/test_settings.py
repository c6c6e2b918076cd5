"""Rows of settings: a point for each budget, searched lengths, fixed depths and what choosing gains
over them, rules that observe, and runs of several kinds in one call."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers.measured import FAST, UNTIMED, call, make_run, rule
from helpers.models import method

from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.settings import baselines
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.runs.row import STATIC_BASELINE, THEIRS, read
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.hf_folder import save_run_model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "sst2-eat-s1")


def budgeted(*given: str) -> list:
    rows = call(*given, "baselines=none", *UNTIMED)
    return [row for row in rows if row.budget is not None]


def test_a_row_for_each_budget_with_a_point_for_each_exit(run: Path, capsys: pytest.CaptureFixture):
    tight, loose = budgeted(f"run={run}", "budgets=[0.6,0.9]")
    assert (tight.budget, loose.budget) == (0.6, 0.9)
    for row in (tight, loose):
        assert row.knob == "tau"
        assert len(row.point) == len(row.exit.arguments["layers"]) == 2
        assert row.adaptivity_gain is not None
    shown = " ".join(capsys.readouterr().out.split())
    assert f"ratio {tight.reduction.arguments['ratio']} for" in shown


def test_what_is_reported_on_does_not_change_the_fit(run: Path):
    (on_dev,) = budgeted(f"run={run}", "budgets=[0.7]")
    (elsewhere,) = budgeted(f"run={run}", "budgets=[0.7]", "split=certificate")
    assert on_dev.point == elsewhere.point


def test_each_rule_of_the_call_is_fitted_once(run: Path, capsys: pytest.CaptureFixture[str]):
    rules = "{kind:margin,lead:0.3},{kind:margin,lead:0.6},{kind:patience}"
    rows = budgeted(f"run={run}", "taus=[0.6]", f"rules=[{rules}]", "budgets=[0.7]")
    assert sorted((row.exit.kind, row.budget) for row in rows) == [
        (kind, 0.7) for kind in ("confidence", "margin")
    ]
    said = f"{run.name}: not fitted for budgets: patience (no knob to tune)"
    assert said in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (["budgets=[1.5]"], r"budgets.0 must be in \(0, 1\], a share .* 12ms, got 1.5"),
        (["budgets=[0.01]"], r"sst2-eat-s1: budget must be at least 0\.\d+.*, got 0.01"),
    ],
)
def test_bad_budgets_are_one_line(run: Path, given: list[str], fault: str):
    with pytest.raises(ConfigError, match=fault):
        call(f"run={run}", *given, *UNTIMED)


def test_a_run_without_exits_has_nothing_to_fit(tmp_path: Path):
    run = make_run(tmp_path / "static", exit="never")
    with pytest.raises(ConfigError, match="budgets needs a run whose exit rule has a knob"):
        call(f"run={run}", "budgets=[0.5]", *UNTIMED)


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
    save_run_model(encoder, labels, run / "model")
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


def test_a_static_run_beside_others_has_no_tau_and_no_ratio(tmp_path: Path):
    run, static = make_run(tmp_path / "run"), make_run(tmp_path / "static", exit="never")
    encoder, labels = load_model(static / "model")
    encoder = encoder.replacing(reduction=method("reduction", "none"))
    save_run_model(encoder, labels, static / "model")
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


SEARCH = ["reduction=lengthdrop", "reduction.iterations=1", "baselines=none", *UNTIMED]
SMALL = ["reduction.mutations=2", "reduction.crossovers=2", "reduction.layers=[2,4]"]


def searched(run: Path, *given: str) -> list:
    rows = call(f"run={run}", *SEARCH, *SMALL, "reduction.ratio=0.4", *given)
    return [row for row in rows if row.budget is not None]


@pytest.fixture
def static(tmp_path: Path) -> Path:
    data = {"_target_": "eat_lightning.data.toy.ToyData", "cache_dir": str(tmp_path / "cache")}
    sizes = {"num_train": 400, "num_validation": 40, "calibration": 80}
    return make_run(tmp_path / "static", exit="never", data=data | sizes)


@pytest.mark.slow
def test_a_row_for_each_budget_with_a_ratio_for_each_layer(static: Path):
    tight, loose = searched(static, "budgets=[0.8,1.0]")
    assert (tight.budget, loose.budget) == (0.8, 1.0)
    for row in (tight, loose):
        assert row.exit.kind == "never"
        assert len(row.reduction.arguments["ratio"]) == 2
        assert all(0 <= ratio <= 0.4 for ratio in row.reduction.arguments["ratio"])
    assert tight.flops_ratio <= loose.flops_ratio < 1.1
    (elsewhere,) = searched(static, "budgets=[0.8]", "split=certificate")
    assert elsewhere.reduction == tight.reduction


@pytest.mark.slow
def test_a_budget_below_the_shortest_lengths_is_one_line(static: Path):
    with pytest.raises(ConfigError, match=r"^budgets: .*must be at least 0\.\d+, .*, got 0.1$"):
        searched(static, "budgets=[0.1]")
