"""Does confidence mean what it says, at each exit (EAT, section 7.2), and what could exits reach?

    python -m experiments.calibration.claim study=outputs/frontier

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Table
from eat_lightning.report.columns import Made, conditions, table, word
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.setting_table import ONE_SEED
from eat_lightning.report.statistics import paired_difference
from eat_lightning.report.study import Study

from .figure import reliability_figure
from .head import NUM_BINS, Exit
from .oracle import ORACLE, oracle_figure, oracle_table, ways

BY_CHANCE = "perfect calibration shows as much by chance at this n"
NO_TEMPERATURE = "no temperature in the row: taken as 1"


def claim(study: Study) -> Claim:
    """Tables of each task, a reliability diagram of each model with exits, and the oracle."""
    tasks = {task: passes(study, task) for task in study.tasks}
    judged = {task: [p for p in found if p.runs] for task, found in tasks.items()}
    judged = {task: found for task, found in judged.items() if found}
    if not judged:
        raise ConfigError(
            "no classifying row has its examples beside it: python -m eat_lightning.measure "
            "run=outputs/<study>"
        )
    early = {task: [p for p in found if p.early] for task, found in judged.items()}
    early = {task: found for task, found in early.items() if found}
    tables = [made for task, found in judged.items() for made in calibration_tables(task, found)]
    figures = [reliability_figure(p) for found in early.values() for p in found]
    return Claim(
        "calibration",
        "Calibration of each exit, and the oracle's bound",
        [line for task, found in early.items() for p in found for line in answers(task, p)],
        [*tables, *(oracle_table(task, found) for task, found in early.items())],
        [*figures, *(oracle_figure(task, found) for task, found in early.items())],
        notes(tasks),
    )


def mean_of(key: str, title: str, help: str, group: str = "", digits: int = 2) -> Made[Exit]:
    """A column of one of `Head.values`, mean ± sd over seeds."""

    def cell(exit: Exit) -> Cell:
        return cells.over_seeds([head.values[key] for head in exit.heads], digits)

    return Made(key, title, cell, help, True, group)


BINS = f"{NUM_BINS} bins of equal width, percent"
WHO: list[Made[Exit]] = [
    word("model", "model", lambda e: e.found.name),
    Made("layer", "exit", lambda e: cells.words(e.layer), "after which layer"),
    word("seeds", "seeds", lambda e: e.found.seeds),
]
COLUMNS: list[Made[Exit]] = [
    *WHO,
    Made("n", "n", lambda e: cells.words(e.found.row.num_examples), "examples judged"),
    mean_of("accuracy", "accuracy", "of this exit for all examples, percent"),
    mean_of(
        *("temperature", "temperature", "fitted on a part of train; 1 where none was needed"),
    ),
    mean_of("ece_before", "ECE before", f"{BINS}, before its temperature", "calibration"),
    Made(
        *("ece_after", "ECE after", lambda e: ece_cell(e), f"{BINS}, after its temperature"),
        group="calibration",
    ),
    Made(
        *("chance", "ECE of perfect calibration", lambda e: chance_cell(e)),
        "mean and 95 % range for these confidences (after) at this n, by simulation",
        group="calibration",
    ),
    mean_of(
        *("adaptive_ece_before", "adaptive ECE before"),
        *(f"{NUM_BINS} bins of equal numbers, percent", "calibration"),
    ),
    mean_of("adaptive_ece_after", "adaptive ECE after", "the same", "calibration"),
    mean_of("confidence_before", "confidence before", "mean, percent", "proper scores"),
    mean_of("confidence_after", "confidence after", "mean, percent", "proper scores"),
    mean_of("brier_before", "Brier before", "0 to 2, lower is better", "proper scores", 4),
    mean_of("brier_after", "Brier after", "0 to 2, lower is better", "proper scores", 4),
    Made(
        *("brier_change", "Brier change", lambda e: brier_change(e)),
        "after - before with 95 % paired bootstrap interval over examples, seeds averaged",
        group="proper scores",
    ),
    mean_of(
        *("aurc_before", "AURC before"),
        *("area under risk-coverage, percent; of two classes no temperature moves it", "ranking"),
    ),
    mean_of("aurc_after", "AURC after", "the same", "ranking"),
    mean_of(
        *("excess_aurc_after", "excess AURC"),
        *("above that of a ranking that has every right answer first, after", "ranking"),
    ),
    *conditions(lambda e: e.point, "encoder", "split", group="conditions"),
    word("slots", "methods", lambda e: e.point.slots, group="conditions"),
    *conditions(lambda e: e.point, "dtype", "device", "commit", "version", group="conditions"),
]


def calibration_tables(task: str, found: Sequence[Pass]) -> list[Table]:
    """On the split that the rows name, and on the part of train that was fitted on."""
    exits = [Exit(p, layer) for p in found for layer in p.layers]
    dev = table(
        f"calibration-{task}",
        f"Calibration of each exit on {task}, {exits[0].found.row.split} split",
        "Mean ± sd over seeds. Temperatures were fitted on a part of train that nothing else uses, "
        "where the ECE there exceeded 2 %.",
        COLUMNS,
        exits,
        lambda e: e.found.source,
        flags_of,
    )
    keys = ("temperature", "ece_before", "ece_after")
    columns = [column for column in COLUMNS if column.key in keys]
    fit = table(
        f"calibration-fit-{task}",
        f"The same exits on the part of {task}'s train that temperatures were fitted on",
        f"ECE in percent, {NUM_BINS} bins, mean ± sd over seeds: seen while fitting, so it says "
        "nothing of other text.",
        [*WHO, *(replace(c, cell=fitted(c.key), group="") for c in columns)],
        [exit for exit in exits if exit.fitted],
        lambda e: e.found.source,
        lambda e: [ONE_SEED] * (len(e.fitted) == 1),
    )
    return [dev, fit] if fit.lines else [dev]


def fitted(key: str) -> Callable[[Exit], Cell]:
    """A field of the rows, which is of the part that was fitted on."""
    factor = 1 if key == "temperature" else 100

    def cell(exit: Exit) -> Cell:
        rows = [head.measured.row for head in exit.fitted]
        return cells.over_seeds([factor * getattr(row, key)[str(exit.layer)] for row in rows])

    return cell


def flags_of(exit: Exit) -> list[str]:
    unknown = any(head.temperature is None for head in exit.heads)
    return [ONE_SEED] * (len(exit.heads) == 1) + [NO_TEMPERATURE] * unknown


def ece_cell(exit: Exit) -> Cell:
    values = [head.values["ece_after"] or 0.0 for head in exit.heads]
    chances = [head.chance.high for head in exit.heads]
    by_chance = all(value <= high for value, high in zip(values, chances, strict=True))
    return replace(cells.over_seeds(values), flags=(BY_CHANCE,) if by_chance else ())


def chance_cell(exit: Exit) -> Cell:
    """The mean over seeds; its range is the widest."""
    value = mean(head.chance.value for head in exit.heads)
    low = min(head.chance.low for head in exit.heads)
    high = max(head.chance.high for head in exit.heads)
    return Cell(value, f"{value:.2f} ({low:.2f} to {high:.2f})", low, high)


def brier_change(exit: Exit) -> Cell:
    """Bold where its interval says that it is lower."""
    after_SB = np.stack([head.brier_B(head.after_BC) for head in exit.heads])
    before_SB = np.stack([head.brier_B(head.before_BC) for head in exit.heads])
    found = paired_difference(after_SB, before_SB)
    if found.low == found.high == 0:
        return Cell(0.0, "0")
    text = f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    flags = () if found.excludes_zero else (cells.SPANS_ZERO,)
    return Cell(found.value, text, found.low, found.high, flags, bold=found.high < 0)


def answers(task: str, found: Pass) -> list[str]:
    """What temperatures did, and how far the usual rule is from the oracle."""
    exits = [Exit(found, layer) for layer in found.layers]
    changes = [
        f"{exit.mean('ece_before'):.1f} to {exit.mean('ece_after'):.1f} % at layer {exit.layer}"
        for exit in exits
    ]
    lines = [
        f"{task}, {found.name}: temperature takes ECE from {', '.join(changes)}; perfect "
        f"calibration would show {chance_cell(exits[-1]).text} % at the last by chance."
    ]
    reached = {way.name: way for way in ways(found)}
    bound, rule = reached[ORACLE], reached.get(found.usual.setting)
    if rule is not None:
        lines.append(
            f"{task}, {found.name}: {rule.name} is right on {rule.accuracy.value:.2f} % at depth "
            f"{rule.depth:.2f}; the oracle of its exits on {bound.accuracy.value:.2f} % at "
            f"{bound.depth:.2f}."
        )
    return lines


def notes(tasks: dict[str, list[Pass]]) -> list[str]:
    """What a reader must know, and what could not be said."""
    found = [
        "ECE is above 0 by chance alone, the more the fewer examples a bin holds: hence its column "
        "of perfect calibration, simulated with the model's own confidences.",
        "Guesses were recorded after temperatures were fitted; those before it are the recorded "
        "logits times the temperature in the row.",
        "Of two classes, temperature moves no confidence past another: AURC and the frontier of "
        "accuracy against depth stay as they are, and a tau only means another thing.",
    ]
    regressions = [task for task, passed in tasks.items() if passed and is_regression(passed)]
    if regressions:
        found.append(f"{', '.join(regressions)}: a regression has no confidence and no exits.")
    absent = [
        f"{p.row.task} {p.name}"
        for task, passed in tasks.items()
        for p in passed
        if not p.runs and task not in regressions
    ]
    if absent:
        found.append(f"Without examples beside their rows: {', '.join(absent)} (measure again).")
    return found


def is_regression(found: Sequence[Pass]) -> bool:
    return found[0].row.accuracy is None and found[0].row.metric in ("pearson", "spearman")


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
