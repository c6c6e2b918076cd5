"""Figures that answer: accuracy against time, the gain at each budget, and a threshold to move, all
from kept rows, in one page without anything from outside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

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
    return 100 * float(getattr(row, row.metric))


def by_task(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    ordered = sorted(rows, key=lambda row: row.task)
    return [(task, list(found)) for task, found in groupby(ordered, key=lambda row: row.task)]


def frontier(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Timed settings of each task, all of one call, so that their times stand beside each other."""
    tasks = []
    for task, found in by_task(row for row in rows if row.latency_ms is not None):
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
    return [
        {
            "task": task,
            "points": [
                {
                    "x": row.budget,
                    "y": 100 * (row.adaptivity_gain or 0.0),
                    "low": 100 * (row.adaptivity_gain_low or 0.0),
                    "high": 100 * (row.adaptivity_gain_high or 0.0),
                    "score": score(row),
                }
                for row in sorted(found, key=lambda row: float(str(row.budget)))
            ],
        }
        for task, found in by_task(fitted)
    ]


def taus(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The settings of each run (seed 1) along its rule's grid, from lax to never leaving."""

    def of(row: Row) -> tuple[str, str, int, str]:
        return row.task, row.model, row.num_layers, row.run

    own = [r for r in rows if r.seed == 1 and not r.baseline and r.latency_ms is not None]
    found = []
    for (task, model, num_layers, _), members in groupby(sorted(own, key=of), key=of):
        settings = [r for r in members if r.point is None or isinstance(r.point, float)]
        settings.sort(key=lambda r: float(str(r.point or 2)))
        if len(settings) < 4:
            continue
        found.append(
            {
                "name": f"{task}, {model}, {settings[0].encoder}, {num_layers} layers",
                "layers": num_layers,
                "points": [step(row) for row in settings],
            }
        )
    return found


def step(row: Row) -> dict[str, Any]:
    shares = {int(k): v for k, v in row.exit_shares.items()}
    return {
        "tau": row.point,
        "score": score(row),
        "ms": row.latency_ms,
        "depth": row.depth,
        "flops": row.flops_ratio,
        "shares": [{"layer": k, "share": v} for k, v in sorted(shares.items()) if v],
    }
