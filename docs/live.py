"""Figures that answer: accuracy against time, the gain at each budget, and a threshold to move, all
from kept rows, in one page without anything from outside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report.study import grouped_by
from eat_lightning.runs.row import Row, read
from experiments.site.made import ROOT, Page, filled

TEMPLATE = Path(__file__).with_name("live.html")
NAMES = {"": "adaptive", "fixed depth": "fixed depth", "own static": "own static"}
UNLIKE = ("trained static", "Hugging Face")  # whose points are models of several sizes
SWEPT = ("frontier/results/base", "frontier/results/frontier")  # which turned tau along a grid


def pages() -> list[Page]:
    budgets = kept("budgets/results")
    swept = [row for place in SWEPT for row in kept(place)]
    held = {"frontier": frontier(budgets), "gains": gains(budgets), "taus": taus(swept)}
    return [Page("results/live-figures.html", filled(TEMPLATE, held))]


def kept(place: str) -> list[Row]:
    return read(ROOT / "experiments" / place / "rows.jsonl")


def score(row: Row) -> float:
    return 100 * row.score


def frontier(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Timed settings of each task, all of one call, so that their times stand beside each other."""
    tasks = []
    timed = sorted((r for r in rows if r.latency_ms is not None), key=lambda row: row.task)
    for task, found in grouped_by(timed, lambda row: row.task).items():
        session = next(row.session for row in found if row.budget is not None)
        points = [point(row) for row in found if row.session == session]
        tasks.append({"task": task, "points": points})
    return tasks


def point(row: Row) -> dict[str, Any]:
    smaller = row.model != "eat" and not row.baseline
    kind = "trained static" if smaller else NAMES.get(row.baseline, "Hugging Face")
    own = f"budget {row.budget:g}" if isinstance(row.budget, float) else row.title
    return {
        "kind": kind,
        "name": f"{kind}, {row.num_layers} layers" if kind in UNLIKE else own,
        "x": row.latency_ms,
        "y": score(row),
        "depth": row.depth,
        "layers": row.num_layers,
        "flops": row.flops_ratio,
    }


def gains(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The gain over fixed depth, in points, at each budget of a task, with its interval."""
    fitted = [row for row in rows if isinstance(row.budget, float) and row.adaptivity_gain_low]
    fitted.sort(key=lambda row: (row.task, row.budget))
    ends = {"y": "", "low": "_low", "high": "_high"}

    def gain(row: Row) -> dict[str, Any]:
        gains = {key: 100 * getattr(row, f"adaptivity_gain{end}") for key, end in ends.items()}
        return {"x": row.budget, **gains, "score": score(row)}

    tasks = grouped_by(fitted, lambda row: row.task).items()
    return [{"task": task, "points": [*map(gain, found)]} for task, found in tasks]


def taus(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The settings of each run (seed 1) along its rule's grid, from lax to never leaving."""
    own = [r for r in rows if r.seed == 1 and not r.baseline and r.latency_ms is not None]
    own = [r for r in own if r.point is None or isinstance(r.point, float)]
    own.sort(key=lambda r: float(str(r.point or 2)))
    runs = grouped_by(own, lambda r: (r.task, r.model, r.num_layers, r.run))
    return [
        {
            "name": f"{task}, {model}, {settings[0].encoder}, {num_layers} layers",
            "layers": num_layers,
            "points": [step(row) for row in settings],
        }
        for (task, model, num_layers, _), settings in sorted(runs.items(), key=lambda one: one[0])
        if len(settings) >= 4
    ]


def step(row: Row) -> dict[str, Any]:
    shares = sorted((int(k), v) for k, v in row.exit_shares.items() if v)
    return {
        "tau": row.point,
        "score": score(row),
        "ms": row.latency_ms,
        "depth": row.depth,
        "flops": row.flops_ratio,
        "shares": [{"layer": k, "share": v} for k, v in shares],
    }
