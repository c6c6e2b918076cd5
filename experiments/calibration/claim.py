"""Does confidence mean what it says, at each exit (EAT, section 7.2), and what could exits reach?

    python -m experiments.calibration.claim study=outputs/frontier

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Column, Line, Table
from eat_lightning.report.oracle import ORACLE, oracle_figure, oracle_table, ways
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.setting_table import ONE_SEED
from eat_lightning.report.statistics import paired_difference
from eat_lightning.report.study import Point, Study

from .figure import reliability_figure
from .head import NUM_BINS, Head, heads_of

BY_CHANCE = "perfect calibration shows as much by chance at this n"
NO_TEMPERATURE = "no temperature in the row: taken as 1"
WHEN = "before its temperature", "after its temperature"


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
    tables = [table for task, found in judged.items() for table in calibration_tables(task, found)]
    figures = [reliability_figure(p) for found in early.values() for p in found]
    return Claim(
        "calibration",
        "Calibration of each exit, and the oracle's bound",
        [line for task, found in early.items() for p in found for line in answers(task, p)],
        [*tables, *(oracle_table(task, found) for task, found in early.items())],
        [*figures, *(oracle_figure(task, found) for task, found in early.items())],
        notes(tasks),
    )


HELP = f"{NUM_BINS} bins of equal width, percent"
COLUMNS = [
    Column("model", "model", numeric=False),
    Column("layer", "exit", "after which layer"),
    Column("seeds", "seeds", numeric=False),
    Column("n", "n", "examples judged"),
    Column("accuracy", "accuracy", "of this exit for all examples, percent"),
    Column("temperature", "temperature", "fitted on a part of train; 1 where none was needed"),
    Column("ece_before", "ECE before", f"{HELP}, {WHEN[0]}", group="calibration"),
    Column("ece_after", "ECE after", f"{HELP}, {WHEN[1]}", group="calibration"),
    Column(
        *("chance", "ECE of perfect calibration"),
        "mean and 95 % range for these confidences (after) at this n, by simulation",
        group="calibration",
    ),
    Column(
        *("adaptive_ece_before", "adaptive ECE before"),
        f"{NUM_BINS} bins of equal numbers, percent",
        group="calibration",
    ),
    Column("adaptive_ece_after", "adaptive ECE after", "the same", group="calibration"),
    Column("confidence_before", "confidence before", "mean, percent", group="proper scores"),
    Column("confidence_after", "confidence after", "mean, percent", group="proper scores"),
    Column("brier_before", "Brier before", "0 to 2, lower is better", group="proper scores"),
    Column("brier_after", "Brier after", "0 to 2, lower is better", group="proper scores"),
    Column(
        *("brier_change", "Brier change"),
        "after - before with 95 % paired bootstrap interval over examples, seeds averaged",
        group="proper scores",
    ),
    Column(
        *("aurc_before", "AURC before"),
        "area under risk-coverage, percent; of two classes no temperature moves it",
        group="ranking",
    ),
    Column("aurc_after", "AURC after", "the same", group="ranking"),
    Column(
        *("excess_aurc_after", "excess AURC"),
        "above that of a ranking that has every right answer first, after",
        group="ranking",
    ),
    *(Column(key, key, numeric=False, group="conditions") for key in ("encoder", "split")),
    Column("slots", "methods", numeric=False, group="conditions"),
    *(
        Column(key, key, numeric=False, group="conditions")
        for key in ("dtype", "device", "commit", "version")
    ),
]
DIGITS = {"temperature": 2, "brier_before": 4, "brier_after": 4}


def calibration_tables(task: str, found: Sequence[Pass]) -> list[Table]:
    """On the split that the rows name, and on the part of train that was fitted on."""
    split = ", ".join(dict.fromkeys(p.row.split for p in found))
    lines = [line_of(p, layer) for p in found for layer in p.layers]
    fitted = [line for p in found for layer in p.layers for line in fit_line(p, layer)]
    dev = Table(
        f"calibration-{task}",
        f"Calibration of each exit on {task}, {split} split",
        "Mean ± sd over seeds. Temperatures were fitted on a part of train that nothing else uses, "
        "where the ECE there exceeded 2 %.",
        COLUMNS,
        lines,
    )
    fit = Table(
        f"calibration-fit-{task}",
        f"The same exits on the part of {task}'s train that temperatures were fitted on",
        f"ECE in percent, {NUM_BINS} bins, mean ± sd over seeds: seen while fitting, so it says "
        "nothing of other text.",
        [*COLUMNS[:3], COLUMNS[5], *COLUMNS[6:8]],
        fitted,
    )
    return [dev, fit] if fitted else [dev]


def line_of(found: Pass, layer: int) -> Line:
    heads, point = heads_of(found, layer), Point(found.runs)
    values = {key: [head.values[key] for head in heads] for key in heads[0].values}
    made = {key: cells.over_seeds(each, DIGITS.get(key, 2)) for key, each in values.items()}
    made |= described(found, layer) | {"n": cells.words(found.row.num_examples)}
    made |= {key: cells.several(point, key) for key in ("encoder", "split", "dtype", "device")}
    made |= {key: cells.several(point, key) for key in ("commit", "version")}
    made |= {"slots": cells.words(point.slots), "brier_change": brier_change(heads)}
    made |= {"chance": chance_cell(heads), "ece_after": ece_cell(heads)}
    unknown = any(head.temperature is None for head in heads)
    flags = [ONE_SEED] * (len(heads) == 1) + [NO_TEMPERATURE] * unknown
    return Line(made, found.source, tuple(flags))


def described(found: Pass, layer: int) -> dict[str, Cell]:
    return {
        "model": cells.words(found.name),
        "layer": cells.words(layer),
        "seeds": cells.words(found.seeds),
    }


def ece_cell(heads: Sequence[Head]) -> Cell:
    made = cells.over_seeds([head.values["ece_after"] for head in heads])
    by_chance = all((head.values["ece_after"] or 0) <= head.chance.high for head in heads)
    return Cell(made.value, made.text, flags=(BY_CHANCE,) if by_chance else ())


def chance_cell(heads: Sequence[Head]) -> Cell:
    """The mean over seeds; its range is the widest."""
    value = mean(head.chance.value for head in heads)
    low = min(head.chance.low for head in heads)
    high = max(head.chance.high for head in heads)
    return Cell(value, f"{value:.2f} ({low:.2f} to {high:.2f})", low, high)


def brier_change(heads: Sequence[Head]) -> Cell:
    """Bold where its interval says that it is lower."""
    after_SB = np.stack([head.brier_B(head.after_BC) for head in heads])
    before_SB = np.stack([head.brier_B(head.before_BC) for head in heads])
    found = paired_difference(after_SB, before_SB)
    if found.low == found.high == 0:
        return Cell(0.0, "0")
    text = f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    flags = () if found.excludes_zero else (cells.SPANS_ZERO,)
    return Cell(found.value, text, found.low, found.high, flags, bold=found.high < 0)


def fit_line(found: Pass, layer: int) -> list[Line]:
    """None where the rows do not say it, as where nothing was fitted."""
    rows = [m.row for m in found.runs]
    known = [row for row in rows if str(layer) in row.ece_before]
    if not known:
        return []
    key = str(layer)
    made = described(found, layer)
    made["temperature"] = cells.over_seeds([row.temperature[key] for row in known])
    made["ece_before"] = cells.over_seeds([100 * row.ece_before[key] for row in known])
    made["ece_after"] = cells.over_seeds([100 * row.ece_after[key] for row in known])
    return [Line(made, found.source, (ONE_SEED,) if len(rows) == 1 else ())]


def answers(task: str, found: Pass) -> list[str]:
    """Two lines: what temperature did, and how far from the bound a rule is."""
    told = []
    for layer in found.layers:
        heads = heads_of(found, layer)
        before, after = (mean_of(heads, f"ece_{when}") for when in ("before", "after"))
        told.append(f"{before:.1f} to {after:.1f} % at layer {layer}")
    chance = chance_cell(heads_of(found, found.layers[-1])).text
    made = {way.name: way for way in ways(found)}
    bound, rule = made[ORACLE], made.get(found.usual.setting)
    lines = [
        f"{task}, {found.name}: temperature takes ECE from {', '.join(told)}; perfect calibration "
        f"would show {chance} % at the last by chance."
    ]
    if rule is not None:
        lines.append(
            f"{task}, {found.name}: {rule.name} is right on {rule.accuracy.value:.2f} % at depth "
            f"{rule.depth:.2f}; the oracle of its exits on {bound.accuracy.value:.2f} % at "
            f"{bound.depth:.2f}."
        )
    return lines


def mean_of(heads: Sequence[Head], name: str) -> float:
    return mean(head.values[name] or 0.0 for head in heads)


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
