"""Tokens kept in a study: scheduled and observed, over training and by length.

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from pandas import DataFrame, Series

from eat_lightning.report.claims.retention.pruning import ratios_of, scheduled, staircase, with_cls
from eat_lightning.report.passes import Pass, by_seed, examples_of, passes, with_examples
from eat_lightning.report.study import Mark, Study
from eat_lightning.runs.run import Run

NAMES = ("train/strength", "train/scheduled_retention", "train/retention", "select/retention")
WHOLE = "every layer run"
END = 0.1  # share of the logged steps that count as the end of training
Ends = tuple[int, int]  # the first and the last length of a group


class Kept:
    """A backbone with a reduction.

    `examples` has a line for each example, averaged over seeds: its `length`, the retention by
    schedule `with_cls` and by algorithm 1 (`counted`), and the observed retention with every layer
    run and under each early-exit rule (`points`, by setting). None without stored examples.
    """

    def __init__(self, found: Pass, ratios: list[Fraction]):
        self.found, self.model, self.ratios = found, found.name, ratios
        self.scheduled = scheduled(ratios)
        self.points: dict[str, Mark] = {}
        self.examples: Any = DataFrame(self.columns()) if found.runs else None

    def columns(self) -> dict[str, Any]:
        tokens = [record.tokens_LB for record in self.found.records]
        lengths_B = tokens[0][0]
        found = {
            "length": lengths_B,
            "with_cls": with_cls(lengths_B, self.ratios),
            "counted": staircase(lengths_B, self.ratios),
            WHOLE: np.mean([tokens_LB[-1] / tokens_LB[0] for tokens_LB in tokens], axis=0),
        }
        for point in self.found.early:
            if (e := examples_of(point)) is not None:
                found[point.setting] = by_seed(e, e["retention"]).mean(0)
                self.points[point.setting] = Mark(with_examples(point.members))
        return found


def reducing(study: Study, task: str) -> list[Kept]:
    """Return the task's backbones whose reduction has a ratio above 0 in some layer."""
    every = passes(study, task)
    ratios = [ratios_of(p.row.reduction.arguments, p.row.num_layers, p.row.strength) for p in every]
    return [Kept(p, own) for p, own in zip(every, ratios, strict=True) if own and any(own)]


def quarters(lengths: Any, parts: int = 4) -> list[Ends]:
    """Return (first, last) length of each quarter of the examples; fewer where lengths coincide."""
    lengths_B = np.asarray(lengths)
    inner = np.quantile(lengths_B, np.arange(1, parts) / parts, method="inverted_cdf")
    ends = np.unique([lengths_B.min() - 1, *inner, lengths_B.max()]).tolist()
    return [(low + 1, high) for low, high in pairwise(ends)]


def named(ends: Ends) -> str:
    low, high = ends
    return f"{low} tokens" if low == high else f"{low} to {high} tokens"


def within(examples: Any, ends: Ends) -> Any:
    return examples[examples["length"].between(*ends)]


@dataclass
class Training:
    """Training log of a backbone's runs, averaged over seeds, by epoch: the schedule's strength and
    retention, and the observed retention on training and selection splits.
    """

    kept: Kept
    point: Mark
    epochs: float
    steps: int
    strength: Series
    goal: Series
    seen: Series
    select: Series


def end_of(curve: Series) -> float:
    """Mean over the last tenth of the steps."""
    return float(curve.iloc[-max(1, round(END * len(curve))) :].mean())


def training_of(study: Study, kept: Kept) -> Training | None:
    """Return the averaged log; None without run folders or curves. Seeds with a different number of
    steps from the first are left out.
    """
    members = {m.folder: m for point in reversed(kept.found.points) for m in point.members}
    runs = {folder: run for folder, m in members.items() if (run := study.run_of(m)) is not None}
    logs = {folder: logged(run) for folder, run in runs.items() if run.done.get("steps")}
    logs = {folder: log for folder, log in logs.items() if {*NAMES} <= {*log}}
    if not logs:
        return None
    first = runs[min(logs, key=lambda folder: members[folder].row.seed)]
    steps, epochs = first.done["steps"], float(first.config["trainer"]["max_epochs"] or 1)
    alike = [folder for folder in logs if runs[folder].done["steps"] == steps]
    curves = [averaged([logs[folder][name] for folder in alike], epochs / steps) for name in NAMES]
    point = Mark(sorted((members[folder] for folder in alike), key=lambda m: m.row.seed))
    return Training(kept, point, epochs, steps, *curves)


def averaged(curves: Sequence[Series], epochs_per_step: float) -> Series:
    """Average curves over the steps that all seeds logged."""
    found = pandas.concat([curve.dropna() for curve in curves], axis=1, join="inner").mean(axis=1)
    return found.set_axis((found.index.to_numpy(np.int64) + 1) * epochs_per_step)


def logged(run: Run) -> Any:
    """Return the training log with a line for each step, over all attempts of a resumed run. If a
    step was repeated, the later one counts.
    """
    paths = sorted(run.folder.glob("csv*/metrics.csv"), key=attempt)
    if not paths:
        return DataFrame()
    # A killed run may leave half a line, which has no step; groupby leaves it out.
    found = pandas.concat([pandas.read_csv(path) for path in paths]).groupby("step").last()
    return found.dropna(axis=1, how="all")


def attempt(path: Path) -> int:
    number = path.parent.name.partition("-")[2]
    return int(number) if number.isdigit() else 1
