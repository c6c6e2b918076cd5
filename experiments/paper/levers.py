"""Token pruning, window and exits on or off: what each saves alone, and all of them together.

Everything is paired: all cells answer the same examples, which are drawn anew together. Shapes: B
examples, L layers, D draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from eat_lightning.model.contracts import ExitRule, overrides
from eat_lightning.model.specification import class_of
from eat_lightning.report.baselines import fixed_beside
from eat_lightning.report.difference import Difference, difference
from eat_lightning.report.intervals import Interval, mean_interval
from eat_lightning.report.speed import Cost, faster, multiplied
from eat_lightning.report.study import KeptRow, Mark, Study, grouped_by
from eat_lightning.runs.row import Row

OFF = {"reduction": "none", "attention": "dense", "exit": "never"}  # levers, each with its "off"
PARTS = ("pruning", "window", "exits")  # what the paper calls them
NEITHER = ("", "", "")
ORDER = ["never", "none", "norm_topk", "ltp", "power_bert", "tome", "dense"]  # in tables; then
ORDER += ["confidence", "patience"]  # rules, and what is not named last
USUAL = 0.9  # of several thresholds of a cell the one that is nearest to this
LEAST = 0.02  # of FLOPs: what saves less alone has no part that could be left
DRAWS = 2000

Key = tuple[str, ...]  # the kind of each lever, "" where it is off


def key_of(row: Row) -> Key:
    kinds = {lever: getattr(row, lever).kind for lever in OFF}
    return tuple("" if kind == OFF[lever] else kind for lever, kind in kinds.items())


@dataclass
class Cell:
    """One combination of levers, over seeds. `grid`: all that were trained alike, by key;
    `training`: the exit rule that learned with the heads, if one did. Savings are against the cell
    with all off."""

    study: Study
    key: Key
    point: Mark
    training: str = ""
    grid: dict[Key, Cell] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> str:
        """The paper's parts that are on: "pruning + exits"."""
        return " + ".join(p for p, kind in zip(PARTS, self.key, strict=True) if kind) or "none"

    @property
    def name(self) -> str:
        """Its methods: "ltp + patience"."""
        return " + ".join(filter(None, self.key)) or "neither"

    @property
    def rule(self) -> str:
        """ "confidence, tau 0.9" """
        kind, title = self.key[2], self.point.row.title.partition(" at ")[0]
        if not kind:
            return f"never, of {self.training}'s training" if self.training else "never"
        return title if title.startswith(kind) else f"{kind}, {title}"

    @property
    def off(self) -> Cell:
        return self.grid[NEITHER]

    @property
    def alone(self) -> list[Cell]:
        """The cells in which one of its levers is on; none for a lever alone."""
        on = [i for i, kind in enumerate(self.key) if kind]
        keys = [tuple(kind if i == j else "" for j, kind in enumerate(self.key)) for i in on]
        return [self.grid[key] for key in keys] if len(on) > 1 else []

    @property
    def both(self) -> bool:
        """Pruned, and with exits."""
        return bool(self.key[0] and self.key[2])

    @cached_property
    def flops_B(self) -> np.ndarray:
        return self.flops_at([m.known.depth_B for m in self.point.members])

    def flops_at(self, depths: Sequence[np.ndarray]) -> np.ndarray:
        """FLOPs of each example that leaves at these depths, an array for each seed, with this
        cell's tokens; scaled so that the cell's own depths cost what was counted."""
        found = []
        for m, depth_B in zip(self.point.members, depths, strict=True):
            costs_LB = layer_costs(self.study, m)
            scale = m.row.flops / summed(costs_LB, m.known.depth_B).mean()
            found.append(scale * summed(costs_LB, depth_B))
        return np.mean(found, axis=0)

    @property
    def share(self) -> float:
        """Mean FLOPs as a share of those with all off."""
        return float(self.flops_B.mean() / self.off.flops_B.mean())

    @property
    def product(self) -> float | None:
        """The share of FLOPs if single shares multiplied."""
        return float(np.prod([cell.share for cell in self.alone])) if self.alone else None

    @property
    def kept(self) -> Interval | None:
        """The saving / that of the product: 1 where savings multiply."""

        def of(off: Any, both: Any, *alone: Any) -> Any:
            return (1 - both / off) / (1 - np.prod([each / off for each in alone], axis=0))

        cells = [self.off, self, *self.alone]
        return drawn_anew(of, *(cell.flops_B for cell in cells)) if self.alone else None

    @property
    def points(self) -> Difference | None:
        return None if self is self.off else difference(self.point, self.off.point)

    @property
    def interaction(self) -> Interval | None:
        """Points by which two levers together differ from the sum of their differences."""
        cells = [self, *self.alone, self.off]
        right = [cell.point.correct_SB() for cell in cells]
        means = [correct_SB.mean(0) for correct_SB in right if correct_SB is not None]
        if len(means) != 4:
            return None
        both_B, one_B, other_B, off_B = means
        return mean_interval(both_B - one_B - other_B + off_B).times(100)

    def faster(self, time: Cost) -> Interval | None:
        return None if self is self.off else faster(self.point, self.off.point, time)

    def times_kept(self, time: Cost) -> Interval | None:
        """Times as fast / the product of single factors."""
        found = [cell.faster(time) for cell in (self, *self.alone)]
        known = [each for each in found if each is not None]
        complete = len(known) == len(found) > 1
        return known[0].over(multiplied(known[1:])) if complete else None

    def left(self, in_place: bool = False) -> Interval | None:
        """Pruning's saving of an example's cost beside exits / its saving without them.

        None where pruning saves next to nothing alone. in_place: as if all left where they leave
        without pruning: what is lost then is pruning in layers that are not run."""
        if not self.both or len(self.alone) > 2 or self.alone[0].share > 1 - LEAST:
            return None
        pruned, early = self.alone
        depths = [m.known.depth_B for m in early.point.members]
        both_B = self.flops_at(depths) if in_place else self.flops_B

        def of(off: Any, pruned: Any, early: Any, both: Any) -> Any:
            return (1 - both / early) / (1 - pruned / off)

        return drawn_anew(of, self.off.flops_B, pruned.flops_B, early.flops_B, both_B)

    @property
    def thirds(self) -> list[np.ndarray]:
        """The examples by length: short, middle, long."""
        lengths_B = self.off.point.members[0].record.lengths
        low, high = np.quantile(lengths_B, [1 / 3, 2 / 3])
        return [lengths_B <= low, (lengths_B > low) & (lengths_B <= high), lengths_B > high]

    @property
    def longer(self) -> Interval | None:
        """Points of FLOPs that it saves more on the long third than on the short one."""
        short, _, long = self.thirds
        whole_B, mine_B = self.off.flops_B, self.flops_B

        def of(short: Any, of_short: Any, long: Any, of_long: Any) -> Any:
            return 100 * (short / of_short - long / of_long)

        columns = (mine_B * short, whole_B * short, mine_B * long, whole_B * long)
        return None if self is self.off else drawn_anew(of, *columns)


def cells_of(study: Study) -> list[Cell]:
    """The cells of each training: of heads alone, and with an exit rule that learns."""
    timed = [m for m in study.measured if m.row.latency_ms is not None and not m.row.baseline]
    trained = grouped_by(grouped_by(timed, lambda m: m.run).values(), training_of)
    return [cell for name, runs in sorted(trained.items()) for cell in grid_of(study, name, runs)]


def training_of(run: Sequence[KeptRow]) -> str:
    """The exit rule that was trained with the heads, "" where none learns."""
    kinds = [kind for m in run if (kind := m.row.exit.kind) != OFF["exit"]]
    return next((k for k in kinds if overrides(class_of("exit", k), ExitRule.observe)), "")


def grid_of(study: Study, training: str, runs: Sequence[Sequence[KeptRow]]) -> Iterator[Cell]:
    """Each combination from the run that was trained so, or else from one whose exits are off."""
    owns = {run[0].run: own_key(run) for run in runs}

    def belongs(m: KeptRow) -> bool:
        reduction, attention, rule = key_of(m.row)
        own = (reduction, attention) == owns[m.run][:2]
        return own and (not training or rule in ("", training))

    def far(m: KeptRow) -> tuple[bool, float]:
        at = abs(m.row.point - USUAL) if isinstance(m.row.point, float) else 0.0
        return key_of(m.row) != owns[m.run], at

    rows = [m for run in runs for m in run if belongs(m)]
    seeds = grouped_by(rows, lambda m: (key_of(m.row), m.row.seed)).values()
    best = sorted((min(some, key=far) for some in seeds), key=place)
    grid: dict[Key, Cell] = {}
    for key, members in grouped_by(best, lambda m: key_of(m.row)).items():
        grid[key] = Cell(study, key, Mark(members), training, grid)
    yield from grid.values()


def own_key(run: Sequence[KeptRow]) -> Key:
    """Everything that is on in any row of a run."""
    columns = zip(*(key_of(m.row) for m in run), strict=True)
    return tuple(next(filter(None, kinds), "") for kinds in columns)


def place(m: KeptRow) -> tuple[list[int], int]:
    """By exit rule, window and reduction, each in the usual order."""
    kinds = [m.row.exit.kind, m.row.attention.kind, m.row.reduction.kind]
    return [ORDER.index(kind) if kind in ORDER else len(ORDER) for kind in kinds], m.row.seed


def layer_costs(study: Study, m: KeptRow) -> np.ndarray:
    """FLOPs of each layer for each example, L x B: the counted means of fixed depths, whose
    differences are the layers', spread over the examples as the tokens that enter."""
    fixed = [other.row for other in fixed_beside(study, m)]
    tokens_LB = m.record.tokens_LB
    if not fixed:  # a layer costs as its tokens
        return tokens_LB.astype(float)
    flops = {0: 0.0} | {row.exit.arguments["layer"]: row.flops for row in fixed}
    layers = sorted(flops)
    up_to = np.interp(range(len(tokens_LB) + 1), layers, [flops[layer] for layer in layers])
    return np.diff(up_to)[:, None] * tokens_LB / tokens_LB.mean(1, keepdims=True)


def summed(costs_LB: np.ndarray, depth_B: np.ndarray) -> np.ndarray:
    ran_LB = np.arange(1, len(costs_LB) + 1)[:, None] <= depth_B
    return (costs_LB * ran_LB).sum(0)


def drawn_anew(of: Callable[..., Any], *columns_B: np.ndarray, level: float = 0.95) -> Interval:
    """`of` the columns' means, with its paired percentile bootstrap interval (Efron 1979): examples
    are resampled, the same ones for all columns. A draw that leaves nothing to divide by says
    nothing."""
    stacked = np.stack(columns_B, axis=1)
    means_D = times_drawn(len(stacked)) @ stacked / len(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        found_D = of(*means_D.T)
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(found_D[np.isfinite(found_D)], ends)
    return Interval(float(of(*stacked.mean(0))), float(low), float(high))


@lru_cache(maxsize=4)
def times_drawn(size: int) -> np.ndarray:
    """How often each example is drawn, D x B."""
    rng = np.random.default_rng(0)
    return rng.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float)
