"""Runs whose exit rule was fitted for a budget, with numbers that one can compute by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.studies import keep, make_recorded, make_row

AT_4, AT_6 = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]


def run(
    folder: Path,
    name: str,
    tau: float,
    seed: int = 1,
    rule: dict[str, Any] | None = None,
    right: Sequence[list[int]] = (AT_4, AT_6),
    **more: Any,
) -> None:
    """Thresholds that were fitted for half of the FLOPs: they differ between runs."""
    same = {"model": "eat", "run": name, "seed": seed, "examples": "e.parquet", **more}
    exit = rule or {"kind": "confidence", "tau": [tau], "layers": [4]}
    knob = {"exit": exit, "knob": next(name for name in exit if name not in ("kind", "layers"))}
    left = {"exit_shares": {"4": 0.5, "6": 0.5}, "depth": 5.0, "flops_ratio": 0.5}
    gain = {"adaptivity_gain": 0.05, "adaptivity_gain_low": 0.01, "adaptivity_gain_high": 0.09}
    top = {"kind": "norm_topk", "ratio": 0.3, "layers": [2]}
    cut = {"reduction": top, "budget": 0.5}
    rows = [make_row(**same | knob | left | gain | cut, point=[tau], accuracy=0.75)]
    for layer, accuracy in ((4, 0.5), (6, 0.75)):
        fixed = {"exit": {"kind": "fixed", "layer": layer}, "baseline": "fixed depth"}
        fixed["reduction"] = top
        cost = {"exit_shares": {str(layer): 1.0}, "depth": float(layer), "flops_ratio": layer / 6}
        rows.append(make_row(**same | fixed | cost, accuracy=accuracy))
    keep(folder / name, rows, make_recorded([*right], [4, 6]))
