"""Token retention: scheduled, observed during training, and by input length (EAT, figures 2 and 5).

    eat report study=outputs/frontier claims=[retention]

It works for any study with a run that reduces tokens. Curves need the run folders, and retention by
length needs the examples beside the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.claims.retention.figure import length_figure, mean_of, training_figure
from eat_lightning.report.claims.retention.kept import (
    WHOLE,
    Ends,
    Kept,
    Training,
    end_of,
    named,
    quarters,
    reducing,
    training_of,
    within,
)
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study
from eat_lightning.report.table import Cell, Table

NOT_COUNTED = "differs from algorithm 1's count"
NO_EXAMPLES = "no lengths, because the examples were not stored"
PAPER_READS = (
    "The paper reads its figure 5 as more aggressive pruning of shorter inputs. Its data and "
    "ours show the opposite: [CLS] is exempt, and ceil() rounds up the number of kept tokens "
    "at each pruning layer. Both matter more for fewer tokens, so short inputs keep more than "
    "the schedule says, and long ones approach it from above."
)
WHAT = (
    "Retention: tokens entering the last executed layer / initial tokens. Examples that leave "
    "early pass fewer pruning layers, so exits raise it."
)
END = "mean over the last tenth of the logged steps"
SELECT = "at the last validation, without early exits"

COLUMNS = [
    col.word("model", "model"),
    col.word("setting", "setting"),
    col.seeds(),
    col.values("num_examples", "n", "examples"),
    col.number("depth", "depth", help="layers run, mean over examples"),
    col.number("scheduled", "scheduled", digits=3, help="product of 1 - ratio over pruning layers"),
    col.number(
        "with_cls", "+ [CLS]", digits=3, help="if [CLS] were exempt and nothing were rounded"
    ),
    col.number("predicted", "+ ceil()", digits=3, help="algorithm 1's count at these lengths"),
    col.interval("retention", "observed", help="mean over examples; interval: 95 %, bootstrap"),
]
TRAINING_COLUMNS = [
    col.word("model", "model"),
    col.seeds(),
    col.number("steps", "steps"),
    col.number("scheduled", "scheduled", digits=3, help=END),
    col.number("observed", "observed", digits=3, help=f"training batches; {END}"),
    col.number("above", "observed - scheduled", digits=3, help=END),
    col.number("select", "on the selection split", digits=3, help=SELECT),
]
PLACE = 70  # on the page


def claim(study: Study) -> Section:
    """Return training curves, retention by length and tables of both for each task."""
    whole = Section("retention", "Tokens kept", notes=[WHAT, PAPER_READS])
    for task in study.tasks:
        found = reducing(study, task)
        trained = [t for kept in found if (t := training_of(study, kept)) is not None]
        known = [kept for kept in found if kept.examples is not None]
        figures = [training_figure(task, trained)] if trained else []
        figures += [length_figure(task, known)] if known else []
        lines = [line for kept in known for line in answer(task, kept)]
        tables = [table_of(task, found, known), training_table(task, trained)]
        whole.add(lines, tables, figures, missing(task, found, known, trained))
    return whole.or_lacking(
        "no row here has a reduction with a ratio: train one, such as "
        "python -m eat_lightning.train model=eat_pruned, and measure it"
    )


def table_of(task: str, found: Sequence[Kept], known: Sequence[Kept]) -> Table:
    bins = {f"length_{i}": ends for i, ends in enumerate(bins_of(known), start=1)}
    help = "mean retention at these lengths"
    by_length = [col.interval(key, named(ends), help=help) for key, ends in bins.items()]
    caption = (
        f"{task}: share of the tokens that enter the last executed layer, by quarters of the "
        "input length in tokens."
    )
    lines = [line for kept in found for line in lines_of(kept, bins)]
    columns = [*COLUMNS, *by_length]
    return col.table(f"retention-{task}", f"Tokens kept on {task}", caption, columns, lines)


def bins_of(known: Sequence[Kept]) -> list[Ends]:
    return quarters(known[0].examples["length"]) if known else []


def lines_of(kept: Kept, bins: dict[str, Ends]) -> Iterator[dict[str, Any]]:
    """Yield a line for every layer run, then for each exit rule; from rows alone
    without examples.
    """
    line: dict[str, Any] = {"model": kept.model, "scheduled": kept.scheduled}
    if kept.examples is None:
        for point in kept.found.points:
            known = {"setting": point.setting, "depth": point.mean("depth"), "flags": [NO_EXAMPLES]}
            retention = cells.number(point.mean("retention"), 3)
            yield line | known | {"retention": retention, "point": point}
        return
    whole, e = kept.found.point, kept.examples
    line |= {"with_cls": e["with_cls"].mean(), "predicted": e["counted"].mean()}
    line |= {"setting": WHOLE, "depth": float(whole.row.num_layers), "point": whole}
    otherwise = not np.allclose(e[WHOLE], e["counted"])
    yield line | shares(kept, WHOLE, bins, (NOT_COUNTED,) if otherwise else ())
    for setting, point in kept.points.items():
        line = {"model": kept.model, "setting": setting, "depth": point.mean("depth")}
        yield line | {"point": point} | shares(kept, setting, bins)


def shares(
    kept: Kept, setting: str, bins: dict[str, Ends], flags: tuple[str, ...] = ()
) -> dict[str, Cell]:
    """Mean retention with its interval, over all examples and over those of each length."""
    parts = {key: within(kept.examples, ends)[setting] for key, ends in bins.items()}
    found = {key: share(part) for key, part in parts.items() if len(part)}
    return {"retention": share(kept.examples[setting], flags)} | found


def share(values: Any, flags: tuple[str, ...] = ()) -> Cell:
    found = mean_of(values)
    return Cell(found.value, f"{found.value:.3f}", found.low, found.high, flags)


def answer(task: str, kept: Kept) -> Iterator[str]:
    """Yield the size of the ceil() effect, and how exits change it."""
    e, means = kept.examples, kept.examples.mean()
    cls, counted, left = (means[name] for name in ("with_cls", "counted", WHOLE))
    bins = quarters(e["length"])
    ends = [f"{within(e, bins[i])[WHOLE].mean():.3f} of {named(bins[i])}" for i in (0, -1)]
    yield (
        f"{task}, {kept.model}: the schedule keeps {kept.scheduled:.3f}; with every layer run "
        f"{left:.3f} is kept, because [CLS] adds {cls - kept.scheduled:.3f} and ceil() "
        f"{counted - cls:.3f}. Shorter inputs keep more: {', '.join(ends)}."
    )
    if told := [f"{means[setting]:.3f} at {setting}" for setting in kept.points]:
        yield f"{task}, {kept.model}, with exits: {', '.join(told)}."


def training_table(task: str, trained: Sequence[Training]) -> Table:
    caption = (
        f"{task}: share of the tokens that is kept at the end of training. Texts of training "
        "batches and of the selection split differ in length."
    )
    title = f"Scheduled and observed retention on {task}"
    lines = [training_line(training) for training in trained]
    return col.table(f"retention-{task}-training", title, caption, TRAINING_COLUMNS, lines)


def training_line(training: Training) -> dict[str, Any]:
    goal, seen = end_of(training.goal), end_of(training.seen)
    above, steps = seen - goal, training.steps
    return {
        "model": training.kept.model,
        "point": training.point,
        "steps": Cell(steps, f"{steps:,}"),
        "scheduled": goal,
        "observed": seen,
        "above": Cell(above, f"{above:+.3f}"),
        "select": float(training.select.iloc[-1]),
    }


def missing(
    task: str, found: Sequence[Kept], known: Sequence[Kept], trained: Sequence[Training]
) -> Iterator[str]:
    """Yield the models with missing data, and what is missing."""
    shown = {
        "no curves, because its run folders are missing": [t.kept for t in trained],
        "no retention by length, because its examples were not stored": known,
    }
    for why, some in shown.items():
        if absent := [kept.model for kept in found if kept not in some]:
            yield f"{task}, {', '.join(absent)}: {why}."
