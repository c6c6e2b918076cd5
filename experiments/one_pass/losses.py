"""Points that exits lose against full depth, for each budget and agreement of kept rows.

Where the rows hold a student of fewer layers, of the same task and seed, they stand beside it.

python -m experiments.one_pass.losses FOLDER...    # kept rows, or runs with their examples
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.errors import ConfigError, reported
from eat_lightning.report.intervals import paired_difference
from eat_lightning.report.study import Measured, open_study
from experiments.bench.tables import markdown


def lines(measured: list[Measured]) -> Iterator[dict[str, Any]]:
    for each in measured:
        row = each.row
        wanted = {"budget": row.budget, "agree": row.agree}
        asked = next((f"{name} {x:g}" for name, x in wanted.items() if x is not None), None)
        if asked is None or row.reduction.kind != "none":
            continue
        named = {"task": row.task, "run": row.run, "seed": row.seed, "asked": asked}
        yield named | loss(each) | beside(each, measured)


def loss(measured: Measured) -> dict[str, Any]:
    """Compare an outcome with the last layer's answers to the same examples."""
    outcome = measured.known
    labels_B = measured.record.labels
    full_B = measured.record.guesses[measured.row.num_layers].argmax(1)
    answer_B = outcome.logits_BC.argmax(1)
    lost = paired_difference(answer_B == labels_B, full_B == labels_B).times(100)
    return {
        "spent": f"{measured.row.flops_ratio:.3f}",
        "accuracy": f"{100 * (answer_B == labels_B).mean():.2f}",
        "full depth": f"{100 * (full_B == labels_B).mean():.2f}",
        "minus full depth": f"{lost.value:+.2f} ({lost.low:+.2f} to {lost.high:+.2f})",
        "changed": f"{100 * np.mean(answer_B != full_B):.2f} %",
    }


def beside(exits: Measured, measured: list[Measured]) -> dict[str, Any]:
    """Compare exits with each student: a trained static model of fewer layers."""
    row, found = exits.row, {}
    for other in measured:
        is_static = other.row.exit.kind == "never" and not other.row.baseline
        fewer = other.row.num_layers < row.num_layers
        if is_static and fewer and (other.row.task, other.row.seed) == (row.task, row.seed):
            more = paired_difference(right(exits), right(other)).times(100)
            found[f"minus {other.row.run} ({100 * right(other).mean():.2f})"] = more.text(sign="+")
    return found


def right(measured: Measured) -> np.ndarray:
    """Tell for each example if its answer is its label."""
    outcome = measured.known
    return outcome.logits_BC.argmax(1) == measured.record.labels


def main(folders: list[str]) -> None:
    found = list(lines(open_study(folders).measured))
    if not found:
        raise ConfigError(f"{' '.join(folders)}: no row has a budget or an agreement")
    print(markdown(DataFrame(found)))


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
