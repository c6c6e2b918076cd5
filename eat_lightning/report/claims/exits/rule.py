"""Exits under a rule: shares by layer, their accuracy, and how depth relates to the text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.report.difference import Difference
from eat_lightning.report.intervals import mcnemar, mean_interval, paired_difference, wilson
from eat_lightning.report.passes import Pass, by_seed, examples_of, with_examples
from eat_lightning.report.study import Mark

Line = dict[str, Any]
NO_EXAMPLES = "only the share, because the examples were not stored"
NUM_BINS = 8  # of lengths, of equal numbers of examples


class Rule:
    """An exit rule of a pass, with lines for exits by layer and for depth by text.

    The lines are empty without stored examples. `shares` has the percentage that left after each
    layer, per seed and layer.
    """

    def __init__(self, found: Pass, point: Mark):
        self.found, self.examples = found, examples_of(point)
        self.usual = point is found.usual
        shares: Any = DataFrame([m.row.exit_shares for m in point.members]).fillna(0.0)
        self.shares = 100 * shares.rename(columns=int).sort_index(axis=1)
        self.point = replace(point, members=with_examples(point.members) or point.members)
        self.places = places(self)
        self.lengths, self.difficulties = by_length(self), by_difficulty(self)

    def line(self, **cells: Any) -> Line:
        about = {"model": self.found.name, "rule": self.point.title, "point": self.point}
        return about | cells


def places(rule: Rule) -> list[Line]:
    """Return a line for each layer with exits, and one for all early exits together."""
    e, last = rule.examples, rule.found.row.num_layers
    if e is None:
        n, flags = rule.point.row.num_examples / 100, [NO_EXAMPLES]
        return [
            rule.line(where=f"layer {k}", layer=k, n=share.mean() * n, share=[*share], flags=flags)
            for k, share in rule.shares.items()
        ]
    layers = np.unique(e["depth"]).tolist()
    found = [place(rule, f"layer {k}", e["depth"] == k, k) for k in layers if k < last]
    if len(found) > 1:
        found.append(place(rule, "any early exit", e["depth"] < last))
    if last in layers:
        found.append(place(rule, f"layer {last} (last)", e["depth"] == last, last))
    return found


def place(rule: Rule, name: str, here: Any, layer: int | None = None) -> Line:
    """Group the examples that left at one layer; these may differ between seeds.

    Shares are over all seeds, with Wilson's interval for the examples of one seed, because seeds
    answer the same examples. Examples that ran all layers have no later answer to compare with.
    """
    e, num_seeds = rule.examples, len(rule.point.members)
    assert e is not None
    n, right, last = here.sum() / num_seeds, e["right"], e["last_right"]
    share = 100 * by_seed(e, here).mean(1)
    line = rule.line(where=name, layer=layer, n=n, share=[*share])
    counted = {"accuracy": right}
    if layer != rule.found.row.num_layers:
        counted |= {"last": last, "harm": last & ~right, "help": right & ~last}
        line["to_last"] = gain(e, here)
    return line | {k: wilson((of & here).sum() / num_seeds, n) for k, of in counted.items() if n}


def gain(e: Any, here: Any) -> Difference:
    """Change in accuracy over the whole split from exiting here instead of at the last layer, in
    points.
    """
    right_SB, last_SB, here_SB = (by_seed(e, x) for x in (e["right"], e["last_right"], here))
    found = paired_difference(right_SB & here_SB, last_SB & here_SB).times(100)
    seeds = zip(right_SB, last_SB, here_SB, strict=True)
    p = tuple(mcnemar(right_B[at_B], last_B[at_B]) for right_B, last_B, at_B in seeds)
    return Difference(found.value, found, p)


def by_length(rule: Rule) -> list[Line]:
    """Mean depth by bins of length, with about an eighth of the examples each."""
    if rule.examples is None:
        return []
    length = rule.examples["length"]
    edges = np.unique(np.quantile(length, np.linspace(0, 1, NUM_BINS + 1)))
    return depths(rule, length, np.searchsorted(edges[1:-1], length), "tokens")


def by_difficulty(rule: Rule) -> list[Line]:
    """Mean depth by difficulty; empty for data without difficulty (only toy data have it)."""
    if rule.examples is None or rule.examples["difficulty"].isna().any():
        return []
    difficulty = rule.examples["difficulty"].astype(int)
    return depths(rule, difficulty, difficulty.to_numpy(), "difficulty")


def depths(rule: Rule, x: Any, bins: np.ndarray, what: str) -> list[Line]:
    """Return a line for each bin of examples; `x` is their mean length or difficulty."""
    made = []
    for _, here in rule.examples.groupby(bins):
        low, high = x[here.index].min(), x[here.index].max()
        several = f"{low}" if low == high else f"{low} to {high}"
        depth_SB, right_SB = by_seed(here, here["depth"]), by_seed(here, here["right"])
        n = depth_SB.shape[1]
        line = rule.line(
            bin=f"{several} tokens" if what == "tokens" else f"{what} {low}",
            x=float(x[here.index].mean()),
            n=n,
            depth=mean_interval(depth_SB.mean(0)),
            accuracy=wilson(float(right_SB.sum(1).mean()), n),
        )
        made.append(line)
    return made
