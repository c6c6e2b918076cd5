"""Tokens kept: as scheduled and as observed while training, and against the length of the input
(EAT, figures 2 and 5).

    python -m experiments.retention.claim study=outputs/frontier

Serves any study with a run that reduces; the curves need the run folders, the lengths the examples
beside the rows. Shapes: B examples, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Column, Line, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.setting_table import ONE_SEED
from eat_lightning.report.study import Point, Study

from .figure import length_figure, training_figure
from .kept import (
    Kept,
    Training,
    mean_of,
    named,
    quarters,
    reducing,
    training_of,
    within,
)
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
    made = {task: found for task in study.tasks if (found := reducing(study, task))}
    if not made:
        raise ConfigError(
            "no row here has a reduction with a ratio: train one, such as "
            "python -m eat_lightning.train model=eat, and measure it"
        )
    tables, figures, answers, notes = [], [], [], [WHAT, PAPER_READS]
    for task, found in made.items():
        trained = [t for kept in found if (t := training_of(study, kept)) is not None]
        whole = [kept for kept in found if kept.found.runs]
        tables.append(table_of(task, found))
        tables += [training_table(task, trained)] if trained else []
        figures += [training_figure(task, trained)] if trained else []
        figures += [length_figure(task, whole)] if whole else []
        answers += [line for kept in whole for line in answer(task, kept)]
        notes += missing(task, found, trained)
    return Claim("retention", "Tokens kept", answers, tables, figures, notes)


def share(values_B: np.ndarray, flags: tuple[str, ...] = ()) -> Cell:
    """A mean over examples with its interval."""
    if not len(values_B):
        return cells.EMPTY
    found = mean_of(values_B)
    return Cell(found.value, f"{found.value:.3f}", found.low, found.high, flags)


def table_of(task: str, found: Sequence[Kept]) -> Table:
    known = [kept for kept in found if kept.found.runs]
    bins = quarters(known[0].lengths_B) if known else []
    columns = [
        Column("model", "model", numeric=False),
        Column("setting", "setting", numeric=False),
        Column("seeds", "seeds", numeric=False),
        Column("num_examples", "n", "examples"),
        Column("depth", "depth", "layers run, mean over examples"),
        Column("scheduled", "scheduled", "product of 1 - ratio over the pruning layers"),
        Column("with_cls", "+ [CLS]", "were [CLS] exempt and nothing rounded"),
        Column("predicted", "+ ceil()", "algorithm 1's count at these lengths"),
        Column("retention", "observed", "mean over examples; interval: 95 %, bootstrap"),
        *(
            Column(f"length_{i}", named(ends), "mean retention at these lengths")
            for i, ends in enumerate(bins, start=1)
        ),
    ]
    lines = [line for kept in found for line in lines_of(kept, bins)]
    caption = (
        f"{task}: share of the tokens that enter the last layer that was run. By quarters of the "
        "inputs' lengths, in tokens."
    )
    return Table(f"retention-{task}", f"Tokens kept on {task}", caption, columns, lines)


def lines_of(kept: Kept, bins: list[tuple[int, int]]) -> list[Line]:
    """Every layer run, then each exit rule; from the rows alone where examples were not kept."""
    if not kept.found.runs:
        return [row_line(kept, point) for point in kept.found.points]
    counted = np.allclose(kept.whole_B, kept.predicted_B)
    flags = () if counted else (NOT_COUNTED,)
    whole = {
        "setting": cells.words(WHOLE),
        "depth": cells.number(float(kept.found.row.num_layers), 2),
        "scheduled": cells.number(scheduled(kept.ratios), 3),
        "with_cls": cells.number(float(with_cls(kept.lengths_B, kept.ratios).mean()), 3),
        "predicted": cells.number(float(kept.predicted_B.mean()), 3),
        "retention": share(kept.whole_B, flags),
    }
    lines = [line_of(kept, Point(kept.found.runs), whole, kept.whole_B, bins)]
    for rule in kept.rules:
        made = {
            "setting": cells.words(rule.point.setting),
            "depth": cells.number(rule.point.mean("depth"), 2),
            "retention": share(rule.retention_B),
        }
        lines.append(line_of(kept, rule.point, made, rule.retention_B, bins))
    return lines


def line_of(
    kept: Kept,
    point: Point,
    made: dict[str, Cell],
    values_B: np.ndarray,
    bins: list[tuple[int, int]],
) -> Line:
    by_length = {
        f"length_{i}": share(values_B[within(kept.lengths_B, ends)])
        for i, ends in enumerate(bins, start=1)
    }
    return Line(described(kept, point) | made | by_length, source_of(point), flags_of(point))


def row_line(kept: Kept, point: Point) -> Line:
    made = {
        "setting": cells.words(point.setting),
        "depth": cells.number(point.mean("depth"), 2),
        "scheduled": cells.number(scheduled(kept.ratios), 3),
        "retention": cells.number(point.mean("retention"), 3),
    }
    flags = (*flags_of(point), NO_EXAMPLES)
    return Line(described(kept, point) | made, source_of(point), flags)


def described(kept: Kept, point: Point) -> dict[str, Cell]:
    return {
        "model": cells.words(kept.model),
        "seeds": cells.several(point, "seed"),
        "num_examples": cells.several(point, "num_examples"),
    }


def flags_of(point: Point) -> tuple[str, ...]:
    return (ONE_SEED,) if len(point.members) == 1 else ()


def answer(task: str, kept: Kept) -> list[str]:
    """The ceil() effect with its numbers, and what exits make of it."""
    goal, lengths_B = scheduled(kept.ratios), kept.lengths_B
    cls, counted = float(with_cls(lengths_B, kept.ratios).mean()), float(kept.predicted_B.mean())
    bins = quarters(lengths_B)
    ends = [kept.whole_B[within(lengths_B, bins[i])].mean() for i in (0, -1)]
    lines = [
        f"{task}, {kept.model}: {goal:.3f} is scheduled, {kept.whole_B.mean():.3f} is left where "
        f"every layer is run, for [CLS] adds {cls - goal:.3f} and ceil() {counted - cls:.3f}. The "
        f"shorter, the more is left: {ends[0]:.3f} of {named(bins[0])}, "
        f"{ends[1]:.3f} of {named(bins[-1])}."
    ]
    told = [f"{r.retention_B.mean():.3f} at {r.point.setting}" for r in kept.rules]
    return lines + ([f"{task}, {kept.model}, with exits: {', '.join(told)}."] if told else [])


# Over training


def training_table(task: str, trained: Sequence[Training]) -> Table:
    end = "mean over the last tenth of the logged steps"
    columns = [
        Column("model", "model", numeric=False),
        Column("seeds", "seeds", numeric=False),
        Column("steps", "steps"),
        Column("scheduled", "scheduled", end),
        Column("observed", "observed", f"training batches; {end}"),
        Column("above", "observed - scheduled", end),
        Column("select", "on the selection split", "at the last validation, nobody leaving"),
    ]
    caption = (
        f"{task}: share of the tokens that is left when training ends. What training batches keep "
        "is of training texts, whose lengths are not those of the selection split."
    )
    title = f"Scheduled and observed retention on {task}"
    lines = [training_line(training) for training in trained]
    return Table(f"retention-{task}-training", title, caption, columns, lines)


def training_line(training: Training) -> Line:
    _, goal, seen, select = training.curves.values()
    point = Point(training.members)
    made = {
        "model": cells.words(training.kept.model),
        "seeds": cells.several(point, "seed"),
        "steps": Cell(training.steps, f"{training.steps:,}"),
        "scheduled": cells.number(goal.end, 3),
        "observed": cells.number(seen.end, 3),
        "above": Cell(seen.end - goal.end, f"{seen.end - goal.end:+.3f}"),
        "select": cells.number(float(select.value_T[-1]), 3),
    }
    return Line(made, source_of(point), flags_of(point))


def missing(task: str, found: Sequence[Kept], trained: Sequence[Training]) -> list[str]:
    """What could not be shown, of which models."""
    curves = {id(training.kept) for training in trained}
    without = {
        "no curves, since its run folders are not at hand": [
            k for k in found if id(k) not in curves
        ],
        "nothing by length, since its examples were not kept": [
            k for k in found if not k.found.runs
        ],
    }
    return [
        f"{task}, {', '.join(kept.model for kept in some)}: {why}."
        for why, some in without.items()
        if some
    ]


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
