"""Settings beside their baselines: differences on the same examples, ratios within a session."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.frontiers import eat_run, static_run
from helpers.studies import EAT, keep, make_recorded, make_row

from eat_lightning.evaluation.gain import Judged, mean_gains
from eat_lightning.model.trace import Trace
from eat_lightning.report.baselines import Entry, with_flops
from eat_lightning.report.speed import batch_ms, faster, single_ms, sorted_ms
from eat_lightning.report.study import open_study

# Who is right at layers 4 and 6; those right at 4 are sure and leave. 10 FLOPs for each layer.
SEEDS = {1: ([1, 1, 0, 0], [1, 1, 1, 0]), 2: ([1, 0, 0, 0], [1, 1, 1, 1])}
# Seed 1: 0.75 at 50 FLOPs, where 0.5 at 40 and 0.75 at 60 are mixed to 0.625; seed 2 likewise.
GAINS = {1: 0.75 - 0.625, 2: 1.0 - 0.8125}


def eat(folder: Path) -> Entry:
    study = open_study([str(folder)])
    (point,) = (p for p in study.points(baseline="") if not p.is_static)
    return Entry(study, point)


def test_a_static_model_of_another_body_is_not_the_baseline(tmp_path: Path):
    static_run(tmp_path, encoder="another")
    eat_run(tmp_path)
    assert eat(tmp_path).trained is None


def test_the_static_model_is_that_of_the_seed(tmp_path: Path):
    for seed in (1, 2):
        keep(tmp_path / f"s{seed}", [make_row(run=f"s{seed}", seed=seed)])
    leaves = make_row(**EAT, model="eat", run="adaptive", seed=2, encoder="s2")
    keep(tmp_path / "adaptive", [leaves])
    found = eat(tmp_path).trained
    assert found is not None
    assert found.seeds == [2]


def test_a_model_with_exits_is_no_trained_static(tmp_path: Path):
    """Its row with nobody leaving is dense, whole and at full depth too."""
    heads = {"ece_after": {"3": 0.1, "6": 0.1}}
    never = make_row(model="eat", run="adaptive", **heads)
    leaves = make_row(**(EAT | heads), model="eat", run="adaptive")
    keep(tmp_path / "adaptive", [never, leaves])
    assert eat(tmp_path).trained is None
    keep(tmp_path / "static", [make_row(run="static", ece_after={"6": 0.1})])
    found = eat(tmp_path).trained
    assert found is not None
    assert found.row.run == "static"


@pytest.mark.parametrize("session", ["one", "another", ""])
def test_times_are_divided_within_a_session(tmp_path: Path, session: str):
    static_run(tmp_path, session=session)
    eat_run(tmp_path)
    entry = eat(tmp_path)
    assert entry.trained is not None
    assert entry.padded is not None
    found = faster(entry.point, entry.trained, single_ms)
    assert (found and found.value) == (1.6 if session == "one" else None)
    assert found is None or found.low == pytest.approx(1.6 * 0.98 / 1.02)
    padded = [faster(entry.point, entry.padded, t) for t in (single_ms, batch_ms, sorted_ms)]
    assert [f.value for f in padded if f] == pytest.approx([2.4, 4.0, 2.1])


def run(folder: Path, seed: int, gain: float) -> None:
    at_4, at_6 = SEEDS[seed]
    left, examples = sum(at_4) / 4, {"num_examples": 4, "examples": "e.parquet"}
    same = {"model": "eat", "seed": seed, "run": f"eat{seed}", **examples}
    ends = {"adaptivity_gain_low": gain - 0.1, "adaptivity_gain_high": gain + 0.1}
    cost: dict[str, Any] = {"depth": 6 - 2 * left, "flops": 10 * (6 - 2 * left)}
    cost["exit_shares"] = {"4": left, "6": 1 - left}
    rows = [make_row(**same | EAT | cost, adaptivity_gain=gain, **ends)]
    for layer, right in ((4, at_4), (6, at_6)):
        fixed = {"exit": {"kind": "fixed", "layer": layer}, "baseline": "fixed depth"}
        cost = {"depth": float(layer), "flops": 10.0 * layer, "exit_shares": {str(layer): 1.0}}
        fields = same | fixed | cost | {"reduction": EAT["reduction"]}
        rows.append(make_row(**fields, accuracy=sum(right) / 4))
    keep(folder / f"eat{seed}", rows, make_recorded([at_4, at_6], [4, 6]))


def said(right_B: np.ndarray, flops_B: np.ndarray) -> Trace:
    """Answers of which these are right, where every label is 1."""
    right_B = right_B.astype(bool)
    return Trace(np.stack([~right_B, right_B], 1).astype(float), np.zeros(4), flops_B=flops_B)


def test_a_fixed_depth_without_layers_has_flops(tmp_path: Path):
    """Of an exit at the embedding no token enters a layer, and only the head costs."""
    fields: dict[str, Any] = {
        "exit": {"kind": "fixed", "layer": 0},
        "baseline": "fixed depth",
        "flops": 7.0,
    }
    row = make_row(
        num_examples=4, depth=0.0, exit_shares={"0": 1.0}, examples="e.parquet", **fields
    )
    keep(tmp_path / "r", [row], make_recorded([[1, 1, 0, 0], [1, 1, 1, 1]], [0, 6]))
    (measured,) = open_study([str(tmp_path / "r")]).measured
    assert with_flops(measured).flops_B.tolist() == [7.0] * 4


def by_hand(seed: int) -> Judged:
    at_4, at_6 = map(np.array, SEEDS[seed])
    fixed = [said(at_4, np.full(4, 40.0)), said(at_6, np.full(4, 60.0))]
    rule = said(at_4 | at_6, np.where(at_4, 40.0, 60.0))
    return Judged([rule], fixed, np.ones(4, np.int64))


def test_gains_of_seeds_are_averaged_within_each_draw(tmp_path: Path):
    for seed, gain in GAINS.items():
        run(tmp_path, seed, gain)
    found = eat(tmp_path).gain
    (wanted,) = mean_gains([by_hand(1), by_hand(2)])
    assert found is not None
    assert found.interval is not None
    assert found.points == pytest.approx(100 * (GAINS[1] + GAINS[2]) / 2)
    ends = [100 * wanted[f"adaptivity_gain_{end}"] for end in ("low", "high")]
    assert [found.interval.low, found.interval.high] == pytest.approx(ends)
