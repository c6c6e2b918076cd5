"""Rows and records of finished runs in one folder, from which they can be reported on their own.

No text, source or label is kept: the right class of every guess is moved to the front. Logits are
kept as margins over that of the right class, in fewer bits where this changes no row's answers or
depths. Accuracy, depths and exits stay the same; confidence and calibration do to the third digit.

    python -m experiments.kept outputs/frontier experiments/paper/results/frontier
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.answer_kind import SINGLE
from eat_lightning.files import replacing
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.specification import Specification
from eat_lightning.record.record import Record
from eat_lightning.report.study import KeptRow, Study, grouped_by, open_study
from eat_lightning.runs import jsonl
from eat_lightning.runs import row as rows

BITS = 8  # of a margin or a signal: as many as bf16 has


def keep(study: Study, folder: Path) -> None:
    """Write rows.jsonl and examples/ of a study into a folder, in place of what it had."""
    passes = grouped_by(study.measured, lambda m: (m.run, m.row.examples))  # rows may lie apart
    measured = [row for same in passes.values() for row in kept(same, folder)]
    with replacing(folder / "rows.jsonl") as fresh:
        rows.write(fresh, measured)
        jsonl.write(fresh, rows.read(fresh), fields_of)
    wanted = {row.examples for row in measured}
    for path in (folder / "examples").glob("*.parquet"):
        if f"examples/{path.name}" not in wanted:
            path.unlink()


def fields_of(row: rows.Row) -> dict[str, Any]:
    """The fields of a row that are not at their defaults, measured numbers to seven digits.

    Settings, thresholds among them, stay as they are, since answers depend on their last bit."""
    exact = {*rows.SETTING, *rows.TIMING, "point"}
    found = {}
    for field in dataclasses.fields(row):
        value, made = getattr(row, field.name), field.default_factory
        if value != (field.default if made is dataclasses.MISSING else made()):
            found[field.name] = value if field.name in exact else seven_digits(value)
    return found


def seven_digits(value: Any) -> Any:
    """A value with its floats rounded, at any depth."""
    if isinstance(value, Specification):
        return value.changed(seven_digits({**value.arguments}))
    if isinstance(value, dict):
        return {name: seven_digits(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [seven_digits(inner) for inner in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def kept(same: Sequence[KeptRow], folder: Path) -> list[rows.Row]:
    """The rows of one pass; its record is written beside them if it is at hand."""
    known = [m for m in same if m.outcome is not None and m.record.kind.problem_type == SINGLE]
    name = same[0].row.examples
    if known and same[0].folder.resolve() != folder.resolve():  # else kept already
        key = "/".join([same[0].row.study, same[0].row.run, name])
        name = f"examples/{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet"
        (folder / "examples").mkdir(parents=True, exist_ok=True)
        exits = [m.row.exit.build() for m in known]
        compact(known[0].record, exits).to_parquet(folder / name)
    return [replace(m.row, examples=name if m in known else "") for m in same]


def compact(recorded: Record, exits: Sequence[ExitRule]) -> Record:
    """A record without labels, in margins that are rounded except for examples which would then
    get another answer, or leave at another exit, under one of the rules."""
    if fixed := [type(exit).__name__ for exit in exits if not exit.by_difference]:
        raise ValueError(f"a record in margins cannot be replayed under {', '.join(fixed)}")
    full = right_class_first(recorded, any(exit.by_class for exit in exits))
    guesses, signals = shortened(full.guesses), shortened(full.signals)
    short = replace(full, guesses=guesses, signals=signals)
    changed_B = np.zeros(len(full), bool)
    for exit in exits:
        once, again = full.replay(exit), short.replay(exit)
        changed_B |= once.depth_B != again.depth_B
        changed_B |= once.logits_BC.argmax(1) != again.logits_BC.argmax(1)
    for exact, rounded in ((full.guesses, guesses), (full.signals, signals)):
        for layer, numbers in rounded.items():
            numbers[changed_B] = exact[layer][changed_B]
    return short


def right_class_first(recorded: Record, signals_too: bool = False) -> Record:
    """A record in which every label and every right class's logit is 0.

    The other classes keep their order, and clusters are numbered as they come.

    Args:
        signals_too: whether the signals of the rule have one place for each class.
    """
    label_B1, cluster_B = recorded.labels[:, None], recorded.cluster_B
    others_BC = np.arange(recorded.num_classes - 1)[None]
    order_BC = np.concatenate([label_B1, others_BC + (others_BC >= label_B1)], axis=1)

    def ordered(of_layers: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {k: np.take_along_axis(of, order_BC, axis=1) for k, of in of_layers.items()}

    return replace(
        recorded,
        labels=np.zeros_like(recorded.labels),
        guesses={k: g - g[:, :1] for k, g in ordered(recorded.guesses).items()},
        signals=ordered(recorded.signals) if signals_too else recorded.signals,
        origins=None,
        cluster_B=None if cluster_B is None else np.unique(cluster_B, return_inverse=True)[1],
    )


def shortened(of_layers: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """The nearest floats with mantissas of `BITS` bits, by layer."""
    short = {}
    for layer, numbers in of_layers.items():
        mantissa, exponent = np.frexp(numbers)
        whole = np.round(np.ldexp(mantissa, BITS))
        short[layer] = np.ldexp(whole, exponent - BITS).astype(numbers.dtype)
    return short


if __name__ == "__main__":
    keep(open_study(sys.argv[1:2]), Path(sys.argv[2]))
