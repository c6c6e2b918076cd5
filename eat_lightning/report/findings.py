"""Findings of a study: short sentences for each task, and its settings in a small table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from eat_lightning.report.study import Mark, Study
from eat_lightning.runs.row import FIXED, STATIC_BASELINE, THEIRS

NEAR = 0.01  # of the score of full depth: as good
MOST = 12  # settings that are printed
WIDTH = 100  # where there is no terminal to ask
HEADS = ("task", "model", "setting", "score", "cost", "speed-up")


def findings(study: Study) -> list[str]:
    """Describe for each task the cheapest setting that is as good as full depth, in short
    sentences.
    """
    sentences = []
    for task in study.tasks:
        pairs = [pair for name in models(study, task) if (pair := nearest(study, task, name))]
        if pairs:
            best, full = min(pairs, key=lambda pair: pair[0].mean("flops_ratio") or 1.0)
            sentences.append(sentence(called(study, task), study.name_of(best.row), best, full))
    return sentences


def called(study: Study, task: str) -> str:
    """Name a task, with a remark where its texts are artificial."""
    folders = {m.folder for m in study.measured if m.row.task == task}
    data = [run.config.get("data") or {} for run in study.runs if run.folder in folders]
    is_toy = data and all(str(node.get("_target_")).endswith("ToyData") for node in data)
    return f"{task} (toy data)" if is_toy else task


def models(study: Study, task: str) -> list[str]:
    return list(dict.fromkeys(study.name_of(p.row) for p in study.points(task=task, baseline="")))


def nearest(study: Study, task: str, name: str) -> tuple[Mark, Mark] | None:
    """Return the cheapest setting of a model within NEAR of full depth, or else its best one, and
    full depth of the same weights. None where one of them was not measured.
    """
    points = [p for p in study.points(task=task) if study.name_of(p.row) == name]
    full = next((p for p in points if at_full_depth(p)), None)
    settings = [p for p in points if not p.row.baseline and p.row.exit.kind != "never"]
    if full is None or not settings:
        return None
    near = [p for p in settings if score(p) >= score(full) - NEAR]
    if near:
        return min(near, key=lambda p: p.mean("flops_ratio") or 1.0), full
    return max(settings, key=score), full


def at_full_depth(point: Mark) -> bool:
    """True if a setting runs all tokens through every layer."""
    return point.row.exit.kind == "never" and point.row.baseline not in (FIXED, THEIRS)


def score(point: Mark) -> float:
    return point.mean("score") or 0.0


def sentence(task: str, name: str, best: Mark, full: Mark) -> str:
    cost, faster = best.mean("flops_ratio") or 1.0, best.mean("speed_up")
    speed = f" and is {faster:.1f} times as fast" if faster else ""
    return (
        f"{task}: {name} at {best.title} {result(best)}. "
        f"It does {100 * cost:.0f} % of the work{speed}. "
        f"With all layers the model {result(full)}."
    )


def result(point: Mark) -> str:
    if point.row.metric == "accuracy":
        return f"has an accuracy of {100 * score(point):.1f} %"
    return f"has {point.row.metric} {100 * score(point):.1f}"


def show(study: Study) -> None:
    """Print the settings of the study; of many only the first."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    points = [p for p in study.points() if p.row.baseline in ("", STATIC_BASELINE, THEIRS)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="right" if number > 2 else "left", overflow="fold")
    most_seeds = max((len(point.seeds) for point in points), default=1)
    for point in points[:MOST]:
        table.add_row(*cells(study, point, most_seeds))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    if len(points) > MOST:
        print(f"and {len(points) - MOST} settings more, on the page")


def cells(study: Study, point: Mark, most_seeds: int) -> Sequence[str]:
    """Format a line of the table; settings with fewer seeds than others are marked."""
    alone = f" (of {len(point.seeds)} seed{'s'[: len(point.seeds) - 1]})"

    def number(value: Any, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    return (
        called(study, point.row.task),
        study.name_of(point.row),
        point.title + (alone if len(point.seeds) < most_seeds else ""),
        number(100 * score(point), 1),
        number(point.mean("flops_ratio"), 2),
        number(point.mean("speed_up"), 2),
    )
