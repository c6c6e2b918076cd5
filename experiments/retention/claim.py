"""Tokens kept: as scheduled and as observed while training, and against the length of the input
(EAT, figures 2 and 5).

    python -m experiments retention study=outputs/frontier

Serves any study with a run that reduces; the curves need the run folders, the lengths the examples
beside the rows. Shapes: B examples, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Table
from eat_lightning.report.columns import made, number, table, values, word
from eat_lightning.report.study import Point, Study

from .figure import length_figure, training_figure
from .kept import Kept, Training, mean_of, named, quarters, reducing, training_of, within
from .pruning import scheduled, with_cls

NOT_COUNTED = "not what algorithm 1 counts"
NO_EXAMPLES = "the examples were not kept: no lengths"
WHOLE = "every layer run"
PAPER_READS = (
    "The paper reads its figure 5 as pruning more aggressively on shorter inputs. It is the "
    "opposite, there as here: [CLS] is exempt and ceil() rounds up what is kept at each pruning "
    "layer, which weighs more the fewer tokens there are, so that short inputs keep more than the "
    "schedule says and long ones approach it from above."
)
WHAT = (
    "Retention: tokens entering the last executed layer / tokens at first. Who leaves early passed "
    "fewer pruning layers, so that exits raise it."
)


def claim(study: Study) -> Claim:
    """For each task the curves of training, retention by length, and tables of both."""
    whole = Claim("retention", "Tokens kept", notes=[WHAT, PAPER_READS])
    for task in study.tasks:
        found = reducing(study, task)
        trained = [t for kept in found if (t := training_of(study, kept)) is not None]
        known = [kept for kept in found if kept.found.runs]
        figures = [training_figure(task, trained)] if trained else []
        figures += [length_figure(task, known)] if known else []
        lines = [line for kept in known for line in answer(task, kept)]
        tables = [table_of(task, found), training_table(task, trained)]
        whole.add(lines, tables, figures, missing(task, found, trained))
    return whole.or_lacking(
        "no row here has a reduction with a ratio: train one, such as "
        "python -m eat_lightning.train model=eat, and measure it"
    )


@dataclass
class Setting:
    """A body under one rule. values_B: retention of each example, None where examples were not
    kept; `whole`: with every layer run, beside what the schedule and algorithm 1 say."""

    kept: Kept
    point: Point
    name: str
    values_B: np.ndarray | None = None
    whole: bool = False

    @property
    def depth(self) -> float | None:
        return float(self.kept.found.row.num_layers) if self.whole else self.point.mean("depth")

    @property
    def scheduled(self) -> float | None:
        return scheduled(self.kept.ratios) if self.whole or self.values_B is None else None

    @property
    def with_cls(self) -> float | None:
        kept = self.kept
        return float(with_cls(kept.lengths_B, kept.ratios).mean()) if self.whole else None

    @property
    def predicted(self) -> float | None:
        return float(self.kept.predicted_B.mean()) if self.whole else None

    @cached_property
    def retention(self) -> Cell:
        if self.values_B is None:
            return cells.number(self.point.mean("retention"), 3)
        otherwise = self.whole and not np.allclose(self.values_B, self.kept.predicted_B)
        return share(self.values_B, (NOT_COUNTED,) if otherwise else ())

    def at_length(self, ends: tuple[int, int]) -> Cell:
        if self.values_B is None:
            return cells.EMPTY
        return share(self.values_B[within(self.kept.lengths_B, ends)])


def share(values_B: np.ndarray, flags: tuple[str, ...] = ()) -> Cell:
    """A mean over examples with its interval."""
    if not len(values_B):
        return cells.EMPTY
    found = mean_of(values_B)
    return Cell(found.value, f"{found.value:.3f}", found.low, found.high, flags)


COLUMNS = [
    word("model", "model", "kept.model"),
    word("setting", "setting", "name"),
    values("seed", "seeds", key="seeds"),
    values("num_examples", "n", "examples"),
    number("depth", "depth", "depth", 2, "layers run, mean over examples"),
    number("scheduled", "scheduled", "scheduled", 3, "product of 1 - ratio over pruning layers"),
    number("with_cls", "+ [CLS]", "with_cls", 3, "were [CLS] exempt and nothing rounded"),
    number("predicted", "+ ceil()", "predicted", 3, "algorithm 1's count at these lengths"),
    made(
        "retention",
        "observed",
        lambda s: s.retention,
        "mean over examples; interval: 95 %, bootstrap",
    ),
]


def table_of(task: str, found: Sequence[Kept]) -> Table:
    known = [kept for kept in found if kept.found.runs]
    bins = quarters(known[0].lengths_B) if known else []
    by_length = [
        made(
            f"length_{i}",
            named(ends),
            lambda s, ends=ends: s.at_length(ends),
            "mean retention at these lengths",
        )
        for i, ends in enumerate(bins, start=1)
    ]
    caption = (
        f"{task}: share of the tokens that enter the last layer that was run. By quarters of the "
        "inputs' lengths, in tokens."
    )
    return table(
        f"retention-{task}",
        f"Tokens kept on {task}",
        caption,
        [*COLUMNS, *by_length],
        [setting for kept in found for setting in settings_of(kept)],
        flags=lambda s: (NO_EXAMPLES,) if s.values_B is None else (),
    )


def settings_of(kept: Kept) -> list[Setting]:
    """Every layer run, then each exit rule; from the rows alone where examples were not kept."""
    if not kept.found.runs:
        return [Setting(kept, point, point.setting) for point in kept.found.points]
    whole = Setting(kept, kept.found.point, WHOLE, kept.whole_B, whole=True)
    return [whole, *(Setting(kept, r.point, r.point.setting, r.retention_B) for r in kept.rules)]


def answer(task: str, kept: Kept) -> Iterator[str]:
    """The ceil() effect with its numbers, and what exits make of it."""
    goal, lengths_B = scheduled(kept.ratios), kept.lengths_B
    cls, counted = float(with_cls(lengths_B, kept.ratios).mean()), float(kept.predicted_B.mean())
    bins = quarters(lengths_B)
    ends = [kept.whole_B[within(lengths_B, bins[i])].mean() for i in (0, -1)]
    yield (
        f"{task}, {kept.model}: {goal:.3f} is scheduled, {kept.whole_B.mean():.3f} is left where "
        f"every layer is run, for [CLS] adds {cls - goal:.3f} and ceil() {counted - cls:.3f}. The "
        f"shorter, the more is left: {ends[0]:.3f} of {named(bins[0])}, "
        f"{ends[1]:.3f} of {named(bins[-1])}."
    )
    if told := [f"{r.retention_B.mean():.3f} at {r.point.setting}" for r in kept.rules]:
        yield f"{task}, {kept.model}, with exits: {', '.join(told)}."


# Over training


END = "mean over the last tenth of the logged steps"
TRAINING_COLUMNS = [
    word("model", "model", "kept.model"),
    values("seed", "seeds", key="seeds"),
    made("steps", "steps", lambda t: Cell(t.steps, f"{t.steps:,}")),
    number("scheduled", "scheduled", "goal.end", 3, END),
    number("observed", "observed", "seen.end", 3, f"training batches; {END}"),
    made("above", "observed - scheduled", lambda t: Cell(t.above, f"{t.above:+.3f}"), END),
    number(
        "select",
        "on the selection split",
        "select.last",
        3,
        "at the last validation, nobody leaving",
    ),
]


def training_table(task: str, trained: Sequence[Training]) -> Table:
    caption = (
        f"{task}: share of the tokens that is left when training ends. What training batches keep "
        "is of training texts, whose lengths are not those of the selection split."
    )
    title = f"Scheduled and observed retention on {task}"
    return table(f"retention-{task}-training", title, caption, TRAINING_COLUMNS, trained)


def missing(task: str, found: Sequence[Kept], trained: Sequence[Training]) -> Iterator[str]:
    """What could not be shown, of which models."""
    drawn = [training.kept for training in trained]
    without = {
        "no curves, since its run folders are not at hand": [
            k for k in found if not any(k is other for other in drawn)
        ],
        "nothing by length, since its examples were not kept": [
            k for k in found if not k.found.runs
        ],
    }
    for why, some in without.items():
        if some:
            yield f"{task}, {', '.join(kept.model for kept in some)}: {why}."
