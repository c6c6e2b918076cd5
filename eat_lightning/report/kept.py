"""A study's rows and examples in one folder, to be passed on and reported again without its runs.

The data stay at home: no text, no source, and no label, since every guess has its right class moved
to the front. Accuracy, confidence, calibration and exits are the same of either form.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from eat_lightning.files import replacing
from eat_lightning.infer.recorded import Recorded
from eat_lightning.report.study import Measured, Study
from eat_lightning.runs import row as rows


def keep(study: Study, folder: Path) -> None:
    """Write rows.jsonl and examples/; rows of an earlier report are replaced."""
    measured = [kept(m, folder) for m in study.measured]
    with replacing(folder / "rows.jsonl") as fresh:
        rows.write(fresh, measured)
    wanted = {row.examples for row in measured}
    for path in (folder / "examples").glob("*.parquet"):
        if f"examples/{path.name}" not in wanted:
            path.unlink()


def kept(measured: Measured, folder: Path) -> rows.Row:
    """The row, and beside it the examples it is of, if they are at hand."""
    row, outcome = measured.row, measured.outcome
    if outcome is None or outcome.logits_BC.shape[1] == 1:
        return replace(row, examples="")
    if measured.folder.resolve() == folder.resolve():
        return row  # kept already
    key = "/".join([row.study, row.run, row.examples])  # exit rules share a file
    name = f"examples/{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet"
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    right_class_first(outcome.recorded).to_parquet(folder / name)
    return replace(row, examples=name)


def right_class_first(recorded: Recorded) -> Recorded:
    """Every label 0; the other classes keep their order."""
    num_classes = next(iter(recorded.guesses.values())).shape[1]
    label_B1 = recorded.labels[:, None]
    others_BC = np.arange(num_classes - 1)[None]
    order_BC = np.concatenate([label_B1, others_BC + (others_BC >= label_B1)], axis=1)
    guesses = {k: np.take_along_axis(g, order_BC, axis=1) for k, g in recorded.guesses.items()}
    labels = np.zeros_like(recorded.labels)
    return replace(recorded, labels=labels, guesses=guesses, origins=None)
