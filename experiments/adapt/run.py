"""Rows of `eat adapt` on classifiers that plain transformers has tuned (`tune.py`).

    python -m experiments.adapt.run adapt folder=FOLDER task=sst2 [agree=0.99] [batch=1]
    python -m experiments.adapt.run levels folder=FOLDER task=sst2 [batch=1] [draw=1] [agree=0.99]
    python -m experiments.adapt.run field folder=FOLDER task=sst2
    python -m experiments.adapt.run rounding folder=FOLDER task=sst2
    python -m experiments.adapt.run copies folder=FOLDER task=qqp [number=2] [epochs=12] [rate=3e-3]
    python -m experiments.adapt.run redraws folder=FOLDER task=stsb [agree=0.95] [draws=200]
    python -m experiments.adapt.run original folder=FOLDER data=FOLDER

`adapt` runs the command itself, compares answers on `fresh.parquet`, and keeps all candidates with
their times, so the machine must be quiet. `levels` does so at several levels of agreement, or at
one, with the passes of the first, and leaves the scratch folder there; another draw parts the texts
anew. `field` times int8 as onnxruntime's and NNCF's own tools make it (pip install nncf) beside
ours. `rounding` counts answers that int8 changes, with factors of inputs and without. `copies`
trains exits with a number of altered copies of each text, or with none, for so many epochs, at a
learning rate.
`redraws` runs all passes once, which times nothing, and draws the parts anew from them. `original`
keeps the accuracy of a merged delta.

Shapes: N texts, B of a batch, C classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

import eat_lightning
from eat_lightning.bundle.original import Original
from eat_lightning.data.unlabelled import read_texts
from eat_lightning.deploy.adapt.forms import deployed_original
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.errors import reported
from eat_lightning.long_texts import REFUSE
from eat_lightning.machine import processor
from eat_lightning.progress import shown
from eat_lightning.record.claim import Claim
from eat_lightning.record.measured import Measured
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit
from experiments.adapt import low_rank
from experiments.adapt.copies import copies_row
from experiments.adapt.field import field_row
from experiments.adapt.levels import LEVELS, at_level, drawn
from experiments.adapt.redraws import redrawn
from experiments.adapt.rounding import rounding_row
from experiments.adapt.tune import TASKS, num_right, read
from experiments.study import run_step

RESULTS = Path(__file__).with_name("results")
MOST_FRESH = 4000  # texts that are compared


def adapt(folder: str, task: str, agree: float = 0.99, batch: int = 1) -> None:
    """Run `eat adapt` on `texts.parquet`, answer `fresh.parquet` by what it wrote, keep the row."""
    base, settings = Path(folder), TASKS[task]
    to = base / ("adapted" if batch == 1 else f"adapted-{batch}")
    more = {"tolerance": settings["tolerance"]} if "tolerance" in settings else {}
    more |= {"columns": settings["columns"], "max_length": settings["length"], "batch": batch}
    began, is_resumed = perf_counter(), to.with_name(f"{to.name}.part").exists()
    made: Any = eat_lightning.adapt(
        base / "model", base / "texts.parquet", to=to, agree=agree, **more
    )
    minutes = None if is_resumed else (perf_counter() - began) / 60
    given = settings["length"], settings.get("tolerance")
    original = Original.open(str(base / "model"), *given, long=REFUSE)
    changed_N = fresh_changes(made, original, base / "fresh.parquet", settings["columns"])
    fresh = {"num_fresh": len(changed_N), "fresh_changed": int(changed_N.sum())}
    model = f"{original.config['model_type']}, {original.num_layers} layers of {original.width}"
    where = {"changes": original.same.changes, "confidence": made.certificate.claim.confidence}
    row = Result(
        {"task": task, "model": model, "agree": agree, "batch": batch, "processor": processor()},
        values_of(made, batch) | fresh | {"minutes": minutes},
        where | {"threads": 1, "commit": git_commit()},
    )
    result.update(RESULTS / "adapted.jsonl", [row])


def levels(folder: str, task: str, batch: int = 1, draw: int = 1, agree: float = 0.0) -> None:
    """Run `eat adapt` at each level, or at one, in one scratch folder, and keep a row for each."""
    base, settings = drawn(Path(folder), draw), TASKS[task]
    more = {"tolerance": settings.get("tolerance"), "columns": settings["columns"]}
    more |= {"max_length": settings["length"], "batch": batch}
    for level in [agree] if agree else LEVELS:
        row = at_level(base, base / "levels", task, level, more, draw)
        result.update(RESULTS / "levels.jsonl", [row])


def field(folder: str, task: str) -> None:
    result.update(RESULTS / "field.jsonl", [field_row(Path(folder), task, TASKS[task])])


def rounding(folder: str, task: str) -> None:
    result.update(RESULTS / "rounding.jsonl", [rounding_row(Path(folder), task, TASKS[task])])


def copies(folder: str, task: str, number: int = 2, epochs: int = 12, rate: float = 3e-3) -> None:
    row = copies_row(Path(folder), task, TASKS[task], number, epochs, rate)
    result.update(RESULTS / "copies.jsonl", [row])


def values_of(made: Any, batch: int) -> dict[str, Any]:
    """All candidates of an adaptation, and which was chosen and is the fastest static one."""
    written, num = made.candidates, made.certificate.tallies[0].num
    timed = [each for each in written if str(batch) in each.ms]
    statics = [each for each in timed[1:] if each.point.is_static and is_likely(each, num)]
    return {
        "chosen": fastest([each for each in timed if each.holds], batch) or written[0].name,
        "static": fastest(statics, batch),
        "candidates": [candidate_of(each, batch) for each in written],
    }


def candidate_of(candidate: Measured, batch: int) -> dict[str, Any]:
    """A candidate of `dial.json` as `adaptations.Candidate` reads it."""
    ends = candidate.speed_up.get(str(batch))
    found = {"selected": candidate.counts, "tested": candidate.tested or ()}
    counts = {
        name: {key: getattr(tallies[0], key) for key in ("changed", "num", "allowed")}
        if tallies
        else None
        for name, tallies in found.items()
    }
    about = {"name": candidate.name, "ms": candidate.ms.get(str(batch))}
    about |= {"speed_up": Interval(*ends) if ends else None, "fault": candidate.fault or None}
    return about | counts


def is_likely(candidate: Measured, num_certify: int) -> bool:
    """True where it is certified, or would more likely be than not."""
    chances = [each.chance(num_certify) for each in candidate.counts]
    is_untested = candidate.tested is None
    return candidate.holds or (is_untested and min(chances, default=0.0) >= 0.5)


def fastest(candidates: Sequence[Measured], batch: int) -> str | None:
    """The name of the fastest candidate."""
    found = sorted(candidates, key=lambda each: each.ms[str(batch)])
    return found[0].name if found else None


def fresh_changes(made: Any, original: Original, path: Path, columns: list[str]) -> np.ndarray:
    """Compare answers to texts that the adaptation did not get with those of transformers."""
    fresh = pd.read_parquet(path)[columns].values.tolist()[:MOST_FRESH]
    texts = read_texts([tuple(row) for row in fresh], columns, len(fresh)).read_by(original.reader)
    split = splits_of(texts, {"fresh": np.arange(len(texts))}, original, path.parent)["fresh"]
    theirs, changed_N = deployed_original(original), np.zeros(len(texts), bool)
    for start in shown(range(0, len(texts), 32), "fresh texts"):
        rows_B = np.arange(start, min(start + 32, len(texts)))
        wanted_BC = theirs.answers(split.batch(rows_B)).logits_BC
        for trace in made.stream([list(texts.rows[i]) for i in rows_B]):
            pair = wanted_BC[trace.rows_B], trace.logits_BC
            changed_N[rows_B[trace.rows_B]] = original.same.changed(*pair)
    return changed_N


def redraws(
    folder: str,
    task: str,
    agree: float = 0.95,
    draws: int = 200,
    learn: int = 800,
    kept: int = 1200,
) -> None:
    claim = Claim("disagreement", round(1 - agree, 12), 0.95)
    row = redrawn(Path(folder), task, TASKS[task], claim, draws, learn, kept)
    result.update(RESULTS / "redraws.jsonl", [row])


def original(folder: str, data: str) -> None:
    """Keep how often a classifier that was made of a delta is right on validation."""
    path = Path(folder, "delta.safetensors")
    about = low_rank.about_of(path)
    given = {name: yaml.safe_load(value) for name, value in about.items()}
    _, validation, _ = read(task := given.pop("task"), data)
    right, num = num_right(Path(folder, "model"), validation), len(validation.rows)
    values = {"right": right, "num": num, "mb": path.stat().st_size / 1e6}
    what = {"task": task, "body": given.pop("body")}
    row = Result(what, values, given | {"commit": git_commit()})
    result.update(RESULTS / "originals.jsonl", [row])


if __name__ == "__main__":
    with reported():
        torch.set_num_threads(1)
        run_step(sys.argv[1:], adapt, levels, field, rounding, copies, redraws, original)
