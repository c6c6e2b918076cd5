"""Section 7.2 of the paper: is a confidence a probability, and what does a temperature change?

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean, stdev
from typing import Any

import numpy as np

from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.claims.calibration.claim import exit_line
from eat_lightning.report.claims.calibration.oracle import ORACLE, ways
from eat_lightning.report.figures import GRID, INK, PAPER, SERIES, Figure
from eat_lightning.report.panels import handles, in_panels
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.result import Result
from eat_lightning.report.study import Study, grouped_by
from eat_lightning.report.table import Table

from .tasks import TASKS

BODIES = {"minilm-l6": "MiniLM, 6 layers", "mpnet-base": "MPNet, 12 layers"}
CHANCE = "of perfect calibration at this n, by simulation"
EXITS = [
    col.word("task", "task"),
    col.count("layer", "exit", help="after which layer"),
    col.spread("accuracy", "accuracy", help="of this exit for all examples, percent"),
    col.spread("temperature", "temperature", help="fitted where the ECE was above 2 %"),
    col.spread("ece_before", "ECE before", help="15 bins, percent"),
    col.spread("ece_after", "ECE after"),
    col.interval("chance", "ECE by chance", help=CHANCE),
    col.spread("aurc_before", "AURC before", help="area under risk-coverage, percent"),
    col.spread("aurc_after", "AURC after"),
]
ORACLE_COLUMNS = [
    col.word("task", "task"),
    col.word("way", "rule"),
    col.spread("accuracy", "accuracy", help="percent"),
    col.number("depth", "depth", help="layers run, mean"),
    col.number(
        "least_depth",
        "least depth",
        help="if examples that no exit gets right left at the first one",
    ),
]
LOSS: dict[str, Any] = {"digits": 1, "sign": "+", "against": 0, "lower": True}
AGAINST = "thousandths of cross-entropy, mean of exits; 95 % paired bootstrap over examples"
WAYS = ("nothing", "one part", "both parts")
FITTED = [
    col.word("task", "task"),
    col.word("encoder", "backbone"),
    col.count("seed", "seed"),
    col.word("examples", "examples", help="of one part, and of both"),
    col.word("ece", "ECE, %: none, one, both", help="on dev, mean of exits"),
    col.word("passed", "exits that pass: none, one, both", help="below 2 %, or as by chance"),
    col.interval("dev", "Δ loss on dev", help=f"both - one part, {AGAINST}", **LOSS),
    col.interval(
        "certificate", "Δ loss on fresh texts", help="the same on unused examples", **LOSS
    ),
]


def area(found: Result) -> Any:
    """The area; of a difference with its sign."""
    differs = found["pairs"] is None
    return cells.interval(found["area"], 3, "+", 0) if differs else found["area"]


SEEN = [
    col.word("task", "task", lambda x: TASKS[x["task"]]),
    col.word("of", "dataset"),
    col.count("pairs", "pairs"),
    col.interval("area", "area under ROC", area, digits=3),
]


@dataclass
class Confidence:
    """EAT's exits on the paper's tasks, and the two measurements of calibration."""

    study: Study
    results: Sequence[Result]

    def passed(self, task: str, name: str = "eat_pruned") -> Pass:
        return next(p for p in passes(self.study, task) if p.name == name)

    @cached_property
    def exits(self) -> list[dict[str, Any]]:
        """A line for each exit of each task."""
        every = {task: self.passed(task) for task in TASKS}
        return [
            exit_line(found, layer) | {"task": TASKS[task]}
            for task, found in every.items()
            for layer in found.layers
        ]

    def measured(self, measure: str, **what: Any) -> list[Result]:
        wanted = {"measure": measure} | what
        return [r for r in self.results if wanted.items() <= r.what.items()]

    @property
    def dev(self) -> list[Result]:
        return self.measured("temperatures", judged_on="validation")

    def fitted(self) -> Iterator[dict[str, Any]]:
        """A line for each run: temperatures of nothing, of one part and of both."""
        runs = grouped_by(self.dev, lambda r: (r["task"], r["encoder"], r["seed"]))
        for (task, encoder, seed), same in runs.items():
            ways = {r["fitted_on"]: r for r in same}
            none, one, both = (ways[way] for way in WAYS)
            about = {"task": task, "encoder": encoder, "seed": seed, "fitted_on": WAYS[-1]}
            (fresh,) = self.measured("temperatures", judged_on="certificate", **about)
            yield {
                **{"task": TASKS[task], "encoder": BODIES[encoder], "seed": seed},
                "examples": f"{one['fitted_examples']}, {both['fitted_examples']}",
                "ece": ", ".join(f"{r['ece_percent']:.2f}" for r in (none, one, both)),
                "passed": ", ".join(str(r["exits_that_pass"]) for r in (none, one, both))
                + f" of {both['exits']}",
                **{"dev": both["against_one_part"], "certificate": fresh["against_one_part"]},
            }

    def tables(self) -> list[Table]:
        mean_of_seeds = "EAT on dev. Temperatures were fitted on held-out training examples."
        parts = "One temperature per exit, fitted on parts of the calibration split."
        seen = "Cosine of a pair's two texts before fine-tuning; alike against unlike."
        made = [
            ("calibration", "Calibration of each exit", mean_of_seeds, EXITS, self.exits),
            ("oracle", "Upper bound of exit rules", "", ORACLE_COLUMNS, [*self.bounds()]),
            (
                "temperatures",
                "Number of examples for a temperature",
                parts,
                FITTED,
                [*self.fitted()],
            ),
            ("seen", "Has the backbone seen the cut?", seen, SEEN, self.measured("seen")),
        ]
        return [col.table(*each, about=None) for each in made]

    def bounds(self) -> Iterator[dict[str, Any]]:
        """The rule at tau 0.9 beside the bound that knows the labels."""
        for task in TASKS:
            by_name = {way["way"]: way for way in ways(self.passed(task))}
            for name in ("tau 0.9", ORACLE):
                yield by_name[name] | {"task": TASKS[task]}

    def facts(self) -> Iterator[str]:
        for way in WAYS:
            found = [r for r in self.dev if r["fitted_on"] == way]
            good, every = (sum(r[key] for r in found) for key in ("exits_that_pass", "exits"))
            yield f"{good} of {every} exits pass on dev when fitted on {way}"
        yield self.over_seeds()

    def over_seeds(self, setting: str = "tau 0.9") -> str:
        """What temperatures do to the spread of three seeds."""
        (point,) = (p for p in self.passed("sst2").early if p.setting == setting)
        told = []
        for when, with_them in (("without", False), ("with", True)):
            right, depth = zip(*(replayed(m, with_them) for m in point.members), strict=True)
            spread = f"{stdev(right):.2f} points in accuracy and {stdev(depth):.2f} layers in depth"
            told.append(f"{when} temperatures seeds differ by {spread} (mean {mean(depth):.2f})")
        return "; ".join(told)

    def figure(self) -> Figure:
        """ECE of each exit before and after its temperature, beside what chance shows."""
        looks = {
            "before": {"marker": "o", "linestyle": "", "color": INK, "markerfacecolor": PAPER},
            "after": {"marker": "o", "linestyle": "", "color": SERIES[0]},
            "by chance, 95 %": {"linewidth": 6, "color": GRID, "solid_capstyle": "butt"},
        }

        def draw(ax: Any, task: str) -> None:
            lines = [line for line in self.exits if line["task"] == TASKS[task]]
            for x, line in enumerate(lines):
                ax.plot(
                    [x, x], [line["chance"].low, line["chance"].high], **looks["by chance, 95 %"]
                )
                ax.plot(x, mean(line["ece_before"]), zorder=3, **looks["before"])
                ax.plot(x, line["ece_after"].value, zorder=4, **looks["after"])
            ax.set_xticks(range(len(lines)), [f"layer {line['layer']}" for line in lines])
            ax.set(title=TASKS[task], xlim=(-0.5, len(lines) - 0.5), ylim=(0, 8.5))

        def legend(drawing: Any, axes: list[Any], made: list[Any]) -> None:
            drawing.legend(*handles(looks), loc="outside upper left", ncols=3)

        labels, caption = ("", "ECE on dev (%)"), "Expected calibration error of each exit."
        more = {"labels": labels, "size": (2.4, 2.0), "finish": legend, "sharey": True}
        return in_panels("calibration", "Calibration of each exit", caption, [*TASKS], draw, **more)


def replayed(measured: Any, with_temperatures: bool) -> tuple[float, float]:
    """Accuracy in percent and depth of a recorded pass under its rule."""
    record = measured.record
    if not with_temperatures:
        own = measured.row.temperature
        guesses = {k: guess * own[str(k)] for k, guess in record.guesses.items()}
        record = replace(record, guesses=guesses)
    trace = record.replay(measured.row.exit.build())
    right_B = trace.logits_BC.argmax(1) == record.labels
    return 100 * float(np.mean(right_B)), float(trace.depth_B.mean())
