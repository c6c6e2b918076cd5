"""Does confidence mean what it says, at each exit (EAT, section 7.2), and what could exits reach?

    python -m experiments calibration study=outputs/frontier

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Column, Table
from eat_lightning.report.columns import (
    count,
    grouped,
    interval,
    made,
    spread,
    table,
    values,
    word,
)
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.statistics import paired_difference
from eat_lightning.report.study import Study

from .figure import reliability_figure
from .head import NUM_BINS, Exit
from .oracle import ORACLE, oracle_figure, oracle_table, ways

BY_CHANCE = "perfect calibration shows as much by chance at this n"
NO_TEMPERATURE = "no temperature in the row: taken as 1"
BINS = f"{NUM_BINS} bins of equal width, percent"


def claim(study: Study) -> Claim:
    """Tables of each task, a reliability diagram of each model with exits, and the oracle."""
    tasks = {task: passes(study, task) for task in study.tasks}
    whole = Claim("calibration", "Calibration of each exit, and the oracle's bound")
    for task, found in tasks.items():
        if judged := [p for p in found if p.runs]:
            whole.add(tables=[calibration_table(task, judged)])
        if early := [p for p in judged if p.early]:
            lines = [line for p in early for line in answers(task, p)]
            figures = [*map(reliability_figure, early), oracle_figure(task, early)]
            whole.add(lines, [oracle_table(task, early)], figures)
    whole.add(notes=notes(tasks))
    return whole.or_lacking(
        "no classifying row has its examples beside it: python -m eat_lightning.measure "
        "run=outputs/<study>"
    )


def of_heads(key: str, title: str, help: str, digits: int = 2) -> Column:
    """One of `Head.values`, mean ± sd over seeds."""
    return spread(key, title, lambda exit: exit.values(key), help, digits)


def ece_cell(exit: Exit) -> Cell:
    values = exit.values("ece_after")
    pairs = zip(values, exit.heads, strict=True)
    by_chance = all((value or 0.0) <= head.chance.high for value, head in pairs)
    return replace(cells.over_seeds(values), flags=(BY_CHANCE,) if by_chance else ())


def brier_change(exit: Exit) -> Cell:
    """Bold where its interval says that it is lower."""
    after_SB = np.stack([head.brier_B(head.after_BC) for head in exit.heads])
    before_SB = np.stack([head.brier_B(head.before_BC) for head in exit.heads])
    found = paired_difference(after_SB, before_SB)
    return cells.interval(found, 4, "+", against=0, lower=True)


WHO = [
    word("model", "model", "found.name"),
    count("layer", "exit", "layer", "after which layer"),
    word("seeds", "seeds", "found.seeds"),
]
CALIBRATION = [
    of_heads("ece_before", "ECE before", f"{BINS}, before its temperature"),
    made("ece_after", "ECE after", ece_cell, f"{BINS}, after its temperature"),
    interval(
        "chance",
        "ECE of perfect calibration",
        "chance",
        "mean and 95 % range for these confidences (after) at this n, by simulation",
    ),
    of_heads(
        "adaptive_ece_before",
        "adaptive ECE before",
        f"{NUM_BINS} bins of equal numbers, percent",
    ),
    of_heads("adaptive_ece_after", "adaptive ECE after", "the same"),
]
SCORES = [
    of_heads("confidence_before", "confidence before", "mean, percent"),
    of_heads("confidence_after", "confidence after", "mean, percent"),
    of_heads("brier_before", "Brier before", "0 to 2, lower is better", 4),
    of_heads("brier_after", "Brier after", "0 to 2, lower is better", 4),
    made(
        "brier_change",
        "Brier change",
        brier_change,
        "after - before with 95 % paired bootstrap interval over examples, seeds averaged",
    ),
]
RANKING = [
    of_heads(
        "aurc_before",
        "AURC before",
        "area under risk-coverage, percent; of two classes no temperature moves it",
    ),
    of_heads("aurc_after", "AURC after", "the same"),
    of_heads(
        "excess_aurc_after",
        "excess AURC",
        "above that of a ranking that has every right answer first, after",
    ),
]
COLUMNS = [
    *WHO,
    count("n", "n", "found.row.num_examples", "examples judged"),
    of_heads("accuracy", "accuracy", "of this exit for all examples, percent"),
    of_heads("temperature", "temperature", "fitted on a part of train; 1 where none was needed"),
    *grouped("calibration", CALIBRATION),
    *grouped("proper scores", SCORES),
    *grouped("ranking", RANKING),
    *grouped(
        "conditions",
        [
            *map(values, ("encoder", "split")),
            word("slots", "methods", "point.slots"),
            *map(values, ("dtype", "device", "commit", "version")),
        ],
    ),
]


def calibration_table(task: str, found: Sequence[Pass]) -> Table:
    exits = [Exit(p, layer) for p in found for layer in p.layers]
    return table(
        f"calibration-{task}",
        f"Calibration of each exit on {task}, {exits[0].found.row.split} split",
        "Mean ± sd over seeds. Temperatures were fitted on a part of train that nothing else uses, "
        "where the ECE there exceeded 2 %.",
        COLUMNS,
        exits,
        flags=lambda e: [NO_TEMPERATURE] * any(head.temperature is None for head in e.heads),
    )


def answers(task: str, found: Pass) -> Iterator[str]:
    """What temperatures did, and how far the usual rule is from the oracle."""
    exits = [Exit(found, layer) for layer in found.layers]
    changes = [
        f"{exit.mean('ece_before'):.1f} to {exit.mean('ece_after'):.1f} % at layer {exit.layer}"
        for exit in exits
    ]
    yield (
        f"{task}, {found.name}: temperature takes ECE from {', '.join(changes)}; perfect "
        f"calibration would show {exits[-1].chance.text()} % at the last by chance."
    )
    reached = {way.name: way for way in ways(found)}
    bound, rule = reached[ORACLE], reached.get(found.usual.setting)
    if rule is not None:
        yield (
            f"{task}, {found.name}: {rule.name} is right on {rule.accuracy.value:.2f} % at depth "
            f"{rule.depth:.2f}; the oracle of its exits on {bound.accuracy.value:.2f} % at "
            f"{bound.depth:.2f}."
        )


def notes(tasks: dict[str, list[Pass]]) -> Iterator[str]:
    """What a reader must know, and what could not be said."""
    yield (
        "ECE is above 0 by chance alone, the more the fewer examples a bin holds: hence its column "
        "of perfect calibration, simulated with the model's own confidences."
    )
    yield (
        "Guesses were recorded after temperatures were fitted; those before it are the recorded "
        "logits times the temperature in the row."
    )
    yield (
        "Of two classes, temperature moves no confidence past another: AURC and the frontier of "
        "accuracy against depth stay as they are, and a tau only means another thing."
    )
    regressions = [task for task, passed in tasks.items() if passed and is_regression(passed[0])]
    if regressions:
        yield f"{', '.join(regressions)}: a regression has no confidence and no exits."
    absent = [
        f"{p.row.task} {p.name}"
        for task, passed in tasks.items()
        for p in passed
        if not p.runs and task not in regressions
    ]
    if absent:
        yield f"Without examples beside their rows: {', '.join(absent)} (measure again)."


def is_regression(found: Pass) -> bool:
    return found.row.accuracy is None and found.row.metric in ("pearson", "spearman")
