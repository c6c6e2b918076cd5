"""What the rows of one setting have in common, whatever their seed."""

from __future__ import annotations

from typing import Any

from eat_lightning.runs.row import Row

# What rows that are averaged over seeds have in common, beside their method's name and exit rule.
BODY = ("task", "model", "encoder", "num_layers")
METHODS = ("attention", "reduction", "head", "objective", "schedule", "policy")
MEASURED = ("split", "baseline", "kernels", "dtype", "form", "device", "threads", "machine")
SAME_POINT = BODY + METHODS + MEASURED


def budget_of(row: Row) -> str:
    """What the exit rule was fitted for: "budget 0.5", "budget 12 ms", or nothing."""
    if row.budget is not None:
        return f"budget {row.budget:g}"
    return "" if row.budget_ms is None else f"budget {row.budget_ms:g} ms"


def rule_of(row: Row) -> dict[str, Any]:
    """What seeds have in common of an exit rule: thresholds that were fitted for a budget differ
    between them."""
    if not budget_of(row):
        return row.exit
    return {k: v for k, v in row.exit.items() if k != row.knob} | {"budget": budget_of(row)}


def same_point(row: Row) -> list[Any]:
    """What seeds have in common beside the name and the rule; where a reduction's knob was fitted
    for a budget differs between them, as thresholds do."""
    moved = {"reduction": row.reduction["kind"]} if row.fitted else {}
    return [moved.get(name, getattr(row, name)) for name in SAME_POINT]


def seed_of(row: Row) -> tuple[Any, ...]:
    """A seed, as far as its training is the same."""
    return row.seed, row.lr, row.steps, row.num_train_examples, row.teacher


def run_in(row: Row) -> str:
    return f"{row.study}/{row.run}"


def doubled_by(row: Row, kept: Row) -> str:
    old, new = run_in(row), run_in(kept)
    if old == new:
        setting = " at ".join(filter(None, (row.exit["kind"], budget_of(row))))
        return f"{new}: of two rows of {setting} the last counts"
    return f"{old} and {new} are one seed of one setting: {new} counts"
