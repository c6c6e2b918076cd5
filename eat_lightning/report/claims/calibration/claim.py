"""Calibration of each exit (EAT, section 7.2), and the oracle bound for exit rules.

    eat report study=outputs/frontier claims=[calibration]

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.claims.calibration.figure import reliability_figure
from eat_lightning.report.claims.calibration.metrics import BINS, Head
from eat_lightning.report.claims.calibration.oracle import ORACLE, oracle_figure, oracle_table, ways
from eat_lightning.report.intervals import over_seeds, paired_difference
from eat_lightning.report.passes import Pass, how_chosen, passes
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study
from eat_lightning.report.table import Table

Line = dict[str, Any]
BY_CHANCE = "within the range of perfect calibration at this n"
NO_TEMPERATURE = "no temperature in the row: assumed to be 1"
WIDTH = f"{BINS} bins of equal width, percent"
EQUAL = f"{BINS} bins of equal size, percent"
CHANCE = "mean and 95 % range for these confidences (after) at this n, by simulation"
CHANGE = "after - before with 95 % paired bootstrap interval over examples, seeds averaged"
CHANGED: dict[str, Any] = {"digits": 4, "sign": "+", "against": 0, "lower": True}
AURC = "area under risk-coverage, percent; with two classes no temperature changes it"
EXCESS = "above that of a ranking with every correct answer first, after"
FITTED = "fitted on a part of train; 1 where none was needed"
LOWER = "0 to 2, lower is better"

CALIBRATION = [
    col.spread("ece_before", "ECE before", help=f"{WIDTH}, before its temperature"),
    col.spread("ece_after", "ECE after", help=f"{WIDTH}, after its temperature"),
    col.interval("chance", "ECE of perfect calibration", help=CHANCE),
    col.spread("adaptive_ece_before", "adaptive ECE before", help=EQUAL),
    col.spread("adaptive_ece_after", "adaptive ECE after", help="the same"),
]
SCORES = [
    col.spread("confidence_before", "confidence before", help="mean, percent"),
    col.spread("confidence_after", "confidence after", help="mean, percent"),
    col.spread("brier_before", "Brier before", help=LOWER, digits=4),
    col.spread("brier_after", "Brier after", help=LOWER, digits=4),
    col.interval("brier_change", "Brier change", help=CHANGE, **CHANGED),
]
RANKING = [
    col.spread("aurc_before", "AURC before", help=AURC),
    col.spread("aurc_after", "AURC after", help="the same"),
    col.spread("excess_aurc_after", "excess AURC", help=EXCESS),
]
CONDITIONS = [
    *map(col.values, ("encoder", "split")),
    col.word("slots", "methods", "point.slots"),
    *map(col.values, ("dtype", "device", "commit", "version")),
]
COLUMNS = [
    col.word("model", "model"),
    col.count("layer", "exit", help="after which layer"),
    col.word("seeds", "seeds"),
    col.count("n", "n", help="examples judged"),
    col.spread("accuracy", "accuracy", help="of this exit for all examples, percent"),
    col.spread("temperature", "temperature", help=FITTED),
    *col.grouped("calibration", CALIBRATION),
    *col.grouped("proper scores", SCORES),
    *col.grouped("ranking", RANKING),
    *col.grouped("conditions", CONDITIONS),
]
PLACE = 50  # on the page


def claim(study: Study) -> Section:
    """Return tables per task, a reliability diagram per model with exits, and the oracle."""
    tasks = {task: passes(study, task) for task in study.tasks}
    whole = Section("calibration", "Calibration of each exit, and the oracle's bound")
    for task, found in tasks.items():
        exits = {p.slug: [exit_line(p, k) for k in p.layers] for p in found if p.runs}
        if exits:
            whole.add(tables=[calibration_table(task, [e for own in exits.values() for e in own])])
        if early := [p for p in found if p.runs and p.early]:
            reached = {p.slug: ways(p) for p in early}
            for p in early:
                own = exits[p.slug]
                figure = reliability_figure(p, [e["heads"][0] for e in own])
                whole.add(answers(task, p, own, reached[p.slug]), figures=[figure])
            whole.add([], [oracle_table(task, reached)], [oracle_figure(task, early, reached)])
    told = [p for found in tasks.values() for p in found if p.runs and p.early]
    whole.add(how_chosen(told), notes=notes(tasks))
    return whole.or_lacking(
        "no classifying row has its examples beside it: python -m eat_lightning.measure "
        "run=outputs/<study>"
    )


def exit_line(found: Pass, layer: int) -> Line:
    """Return a line for the heads at one layer, one head per run."""
    heads = [Head(m, layer) for m in found.runs]
    seeds = DataFrame([head.values for head in heads], dtype=object)
    line: Line = {str(key): [*values] for key, values in seeds.items()}
    brier = {when: np.stack([head.brier[when] for head in heads]) for when in ("before", "after")}
    ece, chance = cells.over_seeds(line["ece_after"]), over_seeds([head.chance for head in heads])
    by_chance = all(head.values["ece_after"] <= head.chance.high for head in heads)
    unknown = any(head.temperature is None for head in heads)
    return line | {
        "model": found.name,
        "layer": layer,
        "seeds": found.seeds,
        "n": found.row.num_examples,
        "ece_after": replace(ece, flags=(BY_CHANCE,) if by_chance else ()),
        "chance": chance,
        "brier_change": paired_difference(brier["after"], brier["before"]),
        "point": found.point,
        "flags": [NO_TEMPERATURE] * unknown,
        "heads": heads,
    }


def calibration_table(task: str, exits: Sequence[Line]) -> Table:
    return col.table(
        f"calibration-{task}",
        f"Calibration of each exit on {task}, {exits[0]['point'].row.split} split",
        "Mean ± sd over seeds. Temperatures were fitted on held-out training examples, for "
        "exits whose ECE there exceeded 2 %.",
        COLUMNS,
        exits,
    )


def answers(task: str, found: Pass, exits: Sequence[Line], reached: list[Line]) -> Iterator[str]:
    """Yield the effects of temperatures, and the distance of the default rule from the oracle."""
    changes = [
        f"{np.mean(e['ece_before']):.1f} to {e['ece_after'].value:.1f} % at layer {e['layer']}"
        for e in exits
    ]
    yield (
        f"{task}, {found.name}: temperature takes ECE from {', '.join(changes)}; at the last "
        f"layer, perfect calibration would have {exits[-1]['chance'].text()} % by chance."
    )
    by_name = {way["way"]: way for way in reached}
    if rule := by_name.get(found.usual.setting):
        mine, bound = (
            f"on {way['accuracy'].value:.2f} % at {what}{way['depth']:.2f}"
            for way, what in ((rule, "depth "), (by_name[ORACLE], ""))
        )
        yield (
            f"{task}, {found.name}: {rule['way']} is correct {mine}; the oracle of its "
            f"exits {bound}."
        )


def notes(tasks: dict[str, list[Pass]]) -> Iterator[str]:
    """Yield notes for the reader, including missing data."""
    yield (
        "ECE is above 0 by chance alone, and more so with fewer examples per bin. The column "
        "for perfect calibration shows how much, simulated with the model's own confidences."
    )
    yield (
        "Logits were recorded after temperatures were fitted; those before are the recorded "
        "logits times the temperature in the row."
    )
    yield (
        "With two classes, a temperature does not change the order of confidences. AURC and "
        "the frontier of accuracy against depth stay the same, and only the meaning of tau "
        "changes."
    )
    rows = [passed[0].row for passed in tasks.values() if passed]
    correlated = [row for row in rows if row.metric in ("pearson", "spearman")]
    if regressions := [row.task for row in correlated if row.accuracy is None]:
        yield f"{', '.join(regressions)}: a regression has no confidence and no exits."
    judged = [p for passed in tasks.values() for p in passed if p.row.task not in regressions]
    if absent := [f"{p.row.task} {p.name}" for p in judged if not p.runs]:
        yield f"Without examples beside their rows: {', '.join(absent)} (measure again)."
