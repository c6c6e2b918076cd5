"""Rows of `eat adapt`: the candidate chosen, its times, and changed answers to fresh texts.

Shapes: N texts, B of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from scipy.stats import binomtest

import eat_lightning
from eat_lightning.deploy.adapt.forms import deployed_original
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.deploy.adapt.texts import read_texts
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import REFUSE
from eat_lightning.progress import shown
from eat_lightning.runs.run import git_commit, processor

MOST = 20_000  # texts that it uses
BATCHES = ("1", "32")  # texts at once, for which candidates are timed


@dataclass(frozen=True)
class TimedForm:
    """A candidate of `eat adapt` that passed the certificate, or the original.

    Args:
        name: engine and dtype; with exits, the mean number of layers too.
        one, many: milliseconds of a text, 1 and 32 at once.
    """

    name: str
    one: float
    many: float

    @classmethod
    def of(cls, candidate: Mapping[str, Any]) -> TimedForm:
        return cls(candidate["name"], *(candidate["ms"][batch] for batch in BATCHES))


@dataclass(frozen=True)
class ChosenRow:
    """One run of `eat adapt`.

    Args:
        task: of `tasks.yaml`.
        model: family and layers.
        num_texts: distinct ones that it was given.
        num_certify: of these, the texts of the certificate.
        agree, confidence: of the promise.
        changes: which answers count as changed.
        certified_changed: of the texts of the certificate.
        num_fresh, fresh_changed: texts that `eat adapt` did not get, and how many change.
        original: transformers, fp32.
        static: the certified one that is fastest, 1 at once; None: none is faster than `original`.
        static_many: the same, 32 at once.
        chosen: the fastest of all that are certified, 1 at once.
        chosen_many: the same, 32 at once.
        minutes: of the whole command; None: it went on after it had been stopped.
        threads: of each timed candidate.
        machine: processor, and number of cores.
        commit: of the code.
    """

    task: str
    model: str
    num_texts: int
    num_certify: int
    agree: float
    confidence: float
    changes: str
    certified_changed: int
    num_fresh: int
    fresh_changed: int
    original: TimedForm
    static: TimedForm | None
    static_many: TimedForm | None
    chosen: TimedForm
    chosen_many: TimedForm
    minutes: float | None
    threads: int
    machine: str
    commit: str | None

    def __post_init__(self) -> None:
        if not 0 <= self.fresh_changed <= self.num_fresh:
            raise ConfigError(f"fresh_changed must be in 0..{self.num_fresh}")

    @property
    def key(self) -> tuple[str, str, float, str]:
        """Identity: a new row replaces the one that has it."""
        return self.task, self.model, self.agree, self.machine

    @property
    def fresh_percent(self) -> tuple[float, float]:
        """The exact 95 % interval of the share of fresh texts whose answer changes."""
        found = binomtest(self.fresh_changed, self.num_fresh).proportion_ci(0.95)
        return 100 * found.low, 100 * found.high


def chosen_row(
    folder: Path, task: str, settings: dict[str, Any], agree: float, **more: Any
) -> ChosenRow:
    """Run `eat adapt` on `texts.parquet`, and answer `fresh.parquet` by what it wrote.

    Args:
        settings: of `tasks.yaml`.
        more: settings of `eat adapt`.
    """
    columns, length = settings["columns"], settings["length"]
    bounds = {"tolerance": settings["tolerance"]} if "tolerance" in settings else {}
    began, resumed = perf_counter(), (folder / "adapted.part").exists()
    made = eat_lightning.adapt(
        folder / "model",
        folder / "texts.parquet",
        folder / "adapted",
        agree=agree,
        columns=columns,
        max_length=length,
        **bounds,
        **more,
    )
    minutes = (perf_counter() - began) / 60
    original = Original.open(str(folder / "model"), length, bounds.get("tolerance"), long=REFUSE)
    changed_N = fresh_changes(made, original, folder / "fresh.parquet", columns)
    candidates = made.about.candidates
    held = [candidate for candidate in candidates if holds(candidate)]
    static = [candidate for candidate in held if not candidate["point"]]
    count = made.certificate["counts"][0]
    return ChosenRow(
        task=task,
        model=f"{original.config['model_type']}, {original.num_layers} layers of {original.width}",
        num_texts=len(read_texts(str(folder / "texts.parquet"), columns, more.get("most", MOST))),
        num_certify=count["num"],
        agree=agree,
        confidence=made.certificate["confidence"],
        changes=original.same.changes,
        certified_changed=count["changed"],
        num_fresh=len(changed_N),
        fresh_changed=int(changed_N.sum()),
        original=TimedForm.of(candidates[0]),
        static=fastest(static, "1"),
        static_many=fastest(static, "32"),
        chosen=fastest(held, "1") or TimedForm.of(candidates[0]),
        chosen_many=fastest(held, "32") or TimedForm.of(candidates[0]),
        minutes=None if resumed else minutes,
        threads=1,
        machine=processor(),
        commit=git_commit(),
    )


def holds(candidate: Mapping[str, Any]) -> bool:
    counts = candidate["tested"] or []
    return bool(counts) and all(count["changed"] <= count["allowed"] for count in counts)


def fastest(candidates: Iterable[Mapping[str, Any]], batch: str) -> TimedForm | None:
    found = min(candidates, key=lambda candidate: candidate["ms"][batch], default=None)
    return None if found is None else TimedForm.of(found)


def fresh_changes(made: Any, original: Original, path: Path, columns: list[str]) -> np.ndarray:
    """Compare answers to texts that the adaptation did not get with those of transformers."""
    fresh = pd.read_parquet(path)[columns].values.tolist()
    texts = read_texts([tuple(row) for row in fresh], columns, len(fresh)).read_by(original.reader)
    split = splits_of(texts, {"fresh": np.arange(len(texts))}, original, path.parent)["fresh"]
    theirs, changed_N = deployed_original(original), np.zeros(len(texts), bool)
    for start in shown(range(0, len(texts), 32), "fresh texts"):
        rows_B = np.arange(start, min(start + 32, len(texts)))
        wanted_BC = theirs.answers(split.batch(rows_B)).logits_NC
        for left in made.backend.stream([list(texts.rows[i]) for i in rows_B]):
            pair = wanted_BC[left.places], left.trace.logits_BC
            changed_N[rows_B[left.places]] = original.same.changed(*pair)
    return changed_N
