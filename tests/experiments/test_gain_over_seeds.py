"""Adaptivity gains over seeds, against the same draws done by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import EAT, keep, make_recorded, make_row

from eat_lightning.measure.gain import Judged, mean_gains
from eat_lightning.model.trace import Trace
from eat_lightning.report.baselines import Entry
from eat_lightning.report.study import open_study

# Who is right at layers 4 and 6; those right at 4 are sure and leave. 10 FLOPs for each layer.
SEEDS = {1: ([1, 1, 0, 0], [1, 1, 1, 0]), 2: ([1, 0, 0, 0], [1, 1, 1, 1])}
# Seed 1: 0.75 at 50 FLOPs, where 0.5 at 40 and 0.75 at 60 are mixed to 0.625; seed 2 likewise.
GAINS = {1: 0.75 - 0.625, 2: 1.0 - 0.8125}


def run(folder: Path, seed: int, gain: float, kind: str = "confidence") -> None:
    at_4, at_6 = SEEDS[seed]
    left, n = sum(at_4) / 4, {"num_examples": 4, "examples": "e.parquet"}
    same = {"model": "eat", "seed": seed, "run": f"eat{seed}", **n}
    ends = {"adaptivity_gain_low": gain - 0.1, "adaptivity_gain_high": gain + 0.1}
    depth = 6 - 2 * left
    rule: dict[str, Any] = {
        "depth": depth,
        "flops": 10 * depth,
        "exit_shares": {"4": left, "6": 1 - left},
    }
    rule["exit"] = EAT["exit"] | {"kind": kind}
    rows = [make_row(**same | EAT | rule, adaptivity_gain=gain, **ends)]
    for layer, right in ((4, at_4), (6, at_6)):
        fixed = {"exit": {"kind": "fixed", "layer": layer}, "baseline": "fixed depth"}
        cost = {"depth": float(layer), "flops": 10.0 * layer, "exit_shares": {str(layer): 1.0}}
        fields = same | fixed | cost | {"reduction": EAT["reduction"]}
        rows.append(make_row(**fields, accuracy=sum(right) / 4))
    keep(folder / f"eat{seed}", rows, make_recorded([at_4, at_6], [4, 6]))


def entry(folder: Path) -> Entry:
    study = open_study([str(folder)])
    (point,) = study.points(baseline="")
    return Entry(study, point)


def answers(class_B: np.ndarray, flops_B: np.ndarray) -> Trace:
    return Trace(np.eye(2)[class_B], np.zeros(len(class_B), int), flops_B=flops_B)


def by_hand(seed: int) -> Judged:
    at_4, at_6 = map(np.array, SEEDS[seed])
    fixed = [answers(at_4, np.full(4, 40.0)), answers(at_6, np.full(4, 60.0))]
    rule = answers(at_4 | at_6, np.where(at_4, 40.0, 60.0))
    return Judged([rule], fixed, np.ones(4, np.int64))


def test_seeds_are_averaged_within_each_draw(tmp_path: Path):
    for seed, gain in GAINS.items():
        run(tmp_path, seed, gain)
    found = entry(tmp_path).gain
    (wanted,) = mean_gains([by_hand(1), by_hand(2)])
    assert found is not None
    assert found.interval is not None
    assert found.points == pytest.approx(100 * (GAINS[1] + GAINS[2]) / 2)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (100 * wanted["adaptivity_gain_low"], 100 * wanted["adaptivity_gain_high"])
    )
