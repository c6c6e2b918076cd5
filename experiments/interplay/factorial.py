"""Token reduction x exit rule: what both save beside what each saves alone, from kept records.

Everything is paired: all cells answer the same examples, which are drawn anew together. Shapes: B
examples, L layers, D draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from eat_lightning.model.contracts import ExitRule, overrides
from eat_lightning.model.specification import class_of
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record
from eat_lightning.report.baselines import fixed_beside, twins
from eat_lightning.report.intervals import Interval, mean_interval, paired_difference
from eat_lightning.report.study import Measured, Point, Study, grouped_by, is_static
from eat_lightning.runs.names import budget_of, rule_of
from eat_lightning.runs.row import Row

REDUCTIONS = ("none", "norm_topk", "ltp", "power_bert", "tome")
RULES = ("never", "confidence", "patience", "berxit")
SCHEDULES = ("anneal", "soft_hard")  # the others train exits in stages: another body
HALF = 0.5  # of full FLOPs: of a rule's settings the one that costs nearest to it without pruning
DRAWS = 2000
SAME = ("task", "encoder", "num_layers", "split", "dtype", "form", "device", "head", "objective")


@dataclass
class Cell:
    """A reduction with an exit rule, over seeds."""

    study: Study
    point: Point

    @property
    def row(self) -> Row:
        return self.point.row

    @cached_property
    def flops_B(self) -> np.ndarray:
        return self.flops_at([m.known.depth_B for m in self.point.members])

    @property
    def lengths_B(self) -> np.ndarray:
        return self.point.members[0].record.lengths

    def flops_at(self, depths: Sequence[np.ndarray]) -> np.ndarray:
        """FLOPs of each example that leaves at these depths, one array for each seed, at the
        tokens that this cell has. Scaled so that the cell's own depths cost what was counted."""
        found = []
        for m, depth_B in zip(self.point.members, depths, strict=True):
            costs_LB = layer_costs(self.study, m)
            scale = m.row.flops / summed(costs_LB, m.known.depth_B).mean()
            found.append(scale * summed(costs_LB, depth_B))
        return np.mean(found, axis=0)

    def beside_unpruned(self, of: Callable[[Record, Trace], np.ndarray | None]) -> Interval | None:
        """`of` an outcome with tokens gone, minus that of the same weights and the same rule where
        every token stays. None where that pass was not kept, or lacks the rule's signals."""
        pairs = [(m, unpruned(self.study, m)) for m in self.point.members]
        values = [(of(m.record, m.known), of(*other)) for m, other in pairs if other is not None]
        if len(values) < len(pairs) or any(a is None or b is None for a, b in values):
            return None
        ours, theirs = (np.stack(side) for side in zip(*values, strict=True))
        return paired_difference(ours, theirs)

    @property
    def heads(self) -> Interval | None:
        """Return the early heads' mean loss when tokens are gone, in points."""
        found = self.beside_unpruned(early_right)
        return found and found.times(100)

    @property
    def later(self) -> Interval | None:
        """How many layers later the same rule leaves when tokens are gone."""
        return self.beside_unpruned(lambda record, trace: trace.depth_B)


@dataclass
class Pair:
    """Both levers, each alone, and neither. `parts` are of means of FLOPs."""

    neither: Cell
    pruned: Cell
    early: Cell
    both: Cell

    @property
    def cells(self) -> list[Cell]:
        return [self.neither, self.pruned, self.early, self.both]

    @property
    def product(self) -> float:
        """The share of FLOPs if single savings multiplied."""
        pruned, early = (c.flops_B.mean() / self.neither.flops_B.mean() for c in self.cells[1:3])
        return float(pruned * early)

    @cached_property
    def kept(self) -> Interval:
        """Return the saving of both / that of the product of the single shares: 1 where they
        multiply."""

        def of(neither: Any, pruned: Any, early: Any, both: Any) -> Any:
            return (1 - both / neither) / (1 - pruned * early / neither**2)

        return drawn_anew(of, *(cell.flops_B for cell in self.cells))

    @cached_property
    def left(self) -> Interval:
        """Return pruning's saving of an example's cost with exits / its saving
        without them. Means nothing where it saves nothing alone."""
        return drawn_anew(still, *(cell.flops_B for cell in self.cells))

    @cached_property
    def left_in_place(self) -> Interval:
        """The same if everybody left where they leave without pruning: what is lost is then
        pruning behind the exits alone, in layers that are not run."""
        depths = [m.known.depth_B for m in self.early.point.members]
        in_place_B = self.both.flops_at(depths)
        first = [cell.flops_B for cell in self.cells[:3]]
        return drawn_anew(still, *first, in_place_B)

    @cached_property
    def interaction(self) -> Interval:
        """Points by which both differ from the sum of the single differences."""
        right = [cell.point.correct_SB() for cell in self.cells]
        neither, pruned, early, both = (x.mean(0) for x in right if x is not None)
        return mean_interval(both - pruned - early + neither).times(100)


def still(neither: Any, pruned: Any, early: Any, both: Any) -> Any:
    return (1 - both / early) / (1 - pruned / neither)


@dataclass
class Factorial:
    """Cells of one training (heads alone, or with a rule that learns), by reduction and rule."""

    training: str
    cells: dict[tuple[str, str], Cell]
    fitted: list[Point]
    doubled: list[str]

    @property
    def missing(self) -> list[tuple[str, str]]:
        reductions, rules = (dict.fromkeys(names) for names in zip(*self.cells, strict=True))
        return [(r, x) for r in reductions for x in rules if (r, x) not in self.cells]

    def fitted_alone(self, point: Point) -> Point | None:
        """The same rule fitted for the same budget without pruning."""
        key = point.row.exit.kind, point.setting
        found = [p for p in self.fitted if (p.row.exit.kind, p.setting) == key]
        return next((p for p in found if p.row.reduction.kind == "none"), None)

    @property
    def neither(self) -> Cell:
        return self.cells["none", "never"]

    def pair(self, reduction: str, rule: str) -> Pair | None:
        """None for a lever alone, or where a cell is missing."""
        wanted = [("none", "never"), (reduction, "never"), ("none", rule), (reduction, rule)]
        found = [self.cells[key] for key in wanted if key in self.cells]
        return Pair(*found) if len({*wanted}) == len(found) == 4 else None

    @cached_property
    def thirds(self) -> list[np.ndarray]:
        """The examples by length: short, middle, long. Empty where one third would be, such as
        that of mails which were nearly all cut at the greatest length."""
        lengths_B = self.neither.lengths_B
        low, high = np.quantile(lengths_B, [1 / 3, 2 / 3])
        found = [lengths_B <= low, (lengths_B > low) & (lengths_B <= high), lengths_B > high]
        return found if all(third.any() for third in found) else []

    def share(self, cell: Cell) -> float:
        """A share of the FLOPs with neither lever."""
        return float(cell.flops_B.mean() / self.neither.flops_B.mean())

    def saved(self, cell: Cell) -> list[float]:
        """Percent of FLOPs that a cell saves on each third."""
        whole_B = self.neither.flops_B
        return [100 * float(1 - cell.flops_B[t].mean() / whole_B[t].mean()) for t in self.thirds]

    def longer(self, cell: Cell) -> Interval:
        """Points of FLOPs that it saves more on the long third than on the short one."""
        short, _, long = self.thirds
        whole_B, mine_B = self.neither.flops_B, cell.flops_B

        def of(short: Any, of_short: Any, long: Any, of_long: Any) -> Any:
            return 100 * (short / of_short - long / of_long)

        return drawn_anew(of, mine_B * short, whole_B * short, mine_B * long, whole_B * long)


def factorials(study: Study, task: str) -> Iterator[Factorial]:
    """One for each body and training that has an unpruned model and one more."""
    known = [m for m in study.measured if m.row.task == task and m.outcome is not None]
    measured = [m for m in known if schedule_of(m) in SCHEDULES]
    runs = grouped_by(measured, lambda m: (m.run, m.row.split))
    trained = [run for run in runs.values() if own_reduction(run) in REDUCTIONS]
    for body, same in grouped_by(trained, body_of).items():
        seeds = grouped_by(same, lambda run: (own_reduction(run), run[0].row.seed))
        doubled = [reduction for (reduction, _), own in seeds.items() for _ in own[1:]]
        rows = [m for first, *_ in seeds.values() for m in own_of(first)]
        cells = dict(cells_of(study, [m for m in rows if not budget_of(m.row)]))
        if ("none", "never") in cells and len({reduction for reduction, _ in cells}) > 1:
            fitted = points_of([m for m in rows if budget_of(m.row)])
            yield Factorial(body[0], cells, fitted, doubled)


def schedule_of(m: Measured) -> str:
    return m.row.schedule.kind if m.row.schedule else "anneal"


def body_of(run: Sequence[Measured]) -> tuple[str, ...]:
    return training_of(run), *(str(getattr(run[0].row, name)) for name in SAME)


def left_out(study: Study, task: str) -> Iterator[str]:
    """Say which models of a task the factorials leave out, one line for each reason."""
    rows = (m for m in study.measured if m.row.task == task and not m.row.baseline)
    for why, left in grouped_by(rows, reason).items():
        if why:
            names = dict.fromkeys(study.name_of(m.row) for m in left)
            yield f"{task}: left out, {why}: {'; '.join(names)}."


def reason(m: Measured) -> str:
    """Why a row is in no cell, "" where it may be in one."""
    reduction, rule, schedule = m.row.reduction.kind, m.row.exit.kind, schedule_of(m)
    if schedule not in SCHEDULES:
        return f"schedule {schedule} (only {', '.join(SCHEDULES)}: others train exits in stages)"
    if reduction not in REDUCTIONS:
        return f"reduction {reduction} (only {', '.join(REDUCTIONS)})"
    if rule not in RULES:
        return f"exit rule {rule} (only {', '.join(RULES)})"
    return "" if m.outcome is not None else m.lacking


def training_of(run: Sequence[Measured]) -> str:
    """The exit rule that was trained with the heads, if one learns."""
    kinds = {m.row.exit.kind for m in run}
    learned = (k for k in RULES if k in kinds and overrides(class_of("exit", k), ExitRule.observe))
    return next(learned, "heads alone")


def cells_of(study: Study, rows: Sequence[Measured]) -> Iterator[tuple[tuple[str, str], Cell]]:
    """Each rule at one setting, the same under all reductions: of those that all have (timed ones,
    if there are any) the one that costs nearest to half of full FLOPs without pruning. It is
    chosen by cost alone."""
    for rule in RULES:
        own = [m for m in rows if m.row.exit.kind == rule]
        found = {
            reduction: grouped_by(same, lambda m: str(rule_of(m.row)))
            for reduction, same in grouped_by(own, lambda m: m.row.reduction.kind).items()
        }
        alone = found.get("none", {})
        shared = [s for s in alone if all(s in settings for settings in found.values())]
        timed = [s for s in shared if all(Point(f[s]).timed for f in found.values())]
        if not shared:
            continue
        setting = min(timed or shared, key=lambda s: far(alone[s]))
        for reduction in (r for r in REDUCTIONS if r in found):
            yield (reduction, rule), Cell(study, by_seed(found[reduction][setting]))


def points_of(rows: Sequence[Measured]) -> list[Point]:
    """Rows over seeds: by rule, budget and reduction."""

    def place(m: Measured) -> tuple[int, str, int]:
        reduction = REDUCTIONS.index(m.row.reduction.kind)
        return RULES.index(m.row.exit.kind), budget_of(m.row), reduction

    found = grouped_by([m for m in rows if m.row.exit.kind in RULES], place)
    return [by_seed(found[key]) for key in sorted(found)]


def by_seed(members: Sequence[Measured]) -> Point:
    return Point(sorted(members, key=lambda m: m.row.seed))


def own_reduction(run: Sequence[Measured]) -> str:
    """Return the reduction that a run was trained with; it was measured without it as well."""
    return next((kind for m in run if (kind := m.row.reduction.kind) != "none"), "none")


def own_of(run: Sequence[Measured]) -> list[Measured]:
    """The rows with it, at its first setting, baselines left out."""
    kind = own_reduction(run)
    own = [m for m in run if m.row.reduction.kind == kind and not m.row.baseline]
    return [m for m in own if m.row.reduction == own[0].row.reduction]


def far(members: Sequence[Measured]) -> float:
    return abs(float(np.mean([m.row.flops_ratio for m in members])) - HALF)


def layer_costs(study: Study, m: Measured) -> np.ndarray:
    """FLOPs of each layer for each example, L x B: the counted means of fixed depths, whose
    differences are the layers', spread over the examples as the tokens that enter."""
    fixed = [other.row for other in fixed_beside(study, m)]
    tokens_LB = m.record.tokens_LB
    flops = {0: 0.0} | {row.exit.arguments["layer"]: row.flops for row in fixed}
    if len(flops) == 1:  # nobody measured them: a layer costs as its tokens
        return tokens_LB.astype(float)
    layers = sorted(flops)
    up_to = np.interp(range(len(tokens_LB) + 1), layers, [flops[layer] for layer in layers])
    return np.diff(up_to)[:, None] * tokens_LB / tokens_LB.mean(1, keepdims=True)


def summed(costs_LB: np.ndarray, depth_B: np.ndarray) -> np.ndarray:
    ran_LB = np.arange(1, len(costs_LB) + 1)[:, None] <= depth_B
    return (costs_LB * ran_LB).sum(0)


def unpruned(study: Study, m: Measured) -> tuple[Record, Trace] | None:
    """Find the record, and what the same rule makes of it, of the same weights with every token;
    None where it is not known."""
    for other in twins(study, Point([m]), lambda row, _: is_static(row))[0]:
        try:
            return other.record, other.record.replay(m.row.exit.build())
        except (KeyError, ValueError, TypeError):  # not recorded, or without its signals
            continue
    return None


def early_right(record: Record, trace: Trace) -> np.ndarray | None:
    """For each example the share of early heads that are right."""
    early = [layer for layer in record.guesses if layer < len(record.tokens_LB)]
    right = [record.guesses[layer].argmax(1) == record.labels for layer in early]
    return np.mean(right, axis=0) if right else None


def drawn_anew(of: Callable[..., Any], *columns_B: np.ndarray, level: float = 0.95) -> Interval:
    """`of` the columns' means, with its paired percentile bootstrap interval (Efron 1979):
    examples are resampled, the same ones for all columns. A draw that leaves nothing to divide by,
    such as no long example among a few, says nothing."""
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
