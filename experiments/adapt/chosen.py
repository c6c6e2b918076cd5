"""Rows of `eat adapt`: the candidate chosen, its times, and changed answers to fresh texts.

Shapes: N texts, B of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from scipy.stats import binomtest

import eat_lightning
from eat_lightning.deploy.adapt.demand import Count
from eat_lightning.deploy.adapt.forms import deployed_original
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.deploy.adapt.texts import read_texts
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import REFUSE
from eat_lightning.progress import shown
from eat_lightning.runs.run import git_commit, processor

MOST, MOST_FRESH = 20_000, 4000  # texts that it uses; fresh ones that are compared


@dataclass(frozen=True)
class TimedForm:
    """A candidate of `eat adapt` that passed the certificate, or the original.

    Args:
        name: engine and dtype; with exits, the mean number of layers too.
        ms: of a text, as many at once as the fastest was wanted for.
        speed_up: over the original, with the ends of its 95 % interval; None in older rows.
    """

    name: str
    ms: float
    speed_up: list[float] | None = None

    @classmethod
    def of(cls, candidate: Mapping[str, Any], batch: int) -> TimedForm:
        size = str(batch)
        return cls(candidate["name"], candidate["ms"][size], candidate["speed_up"].get(size))

    def as_dict(self) -> dict[str, Any]:
        """Its values, as a row's file holds them: none that is not known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


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
        static: the fastest without exits that is certified, or would be more likely than not as the
            texts for choosing tell; None: there is none.
        chosen: the fastest of all that are certified.
        minutes: of the whole command; None: it went on after it had been stopped.
        threads: of each timed candidate.
        batch: texts at once, for which the fastest was wanted.
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
    chosen: TimedForm
    minutes: float | None
    threads: int
    machine: str
    commit: str | None
    batch: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.fresh_changed <= self.num_fresh:
            raise ConfigError(f"fresh_changed must be in 0..{self.num_fresh}")

    @property
    def key(self) -> tuple[str, str, float, str, int]:
        """Identity: a new row replaces the one that has it."""
        return self.task, self.model, self.agree, self.machine, self.batch

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
    bounds = {"tolerance": settings["tolerance"]} if "tolerance" in settings else {}
    to = folder / ("adapted" if more.get("batch", 1) == 1 else f"adapted-{more['batch']}")
    began, resumed = perf_counter(), to.with_name(f"{to.name}.part").exists()
    made = eat_lightning.adapt(
        folder / "model",
        folder / "texts.parquet",
        to,
        agree=agree,
        columns=settings["columns"],
        max_length=settings["length"],
        **bounds,
        **more,
    )
    minutes = (perf_counter() - began) / 60
    num_texts = len(
        read_texts(str(folder / "texts.parquet"), settings["columns"], more.get("most", MOST))
    )
    used = None if resumed else minutes
    return row_of(made, folder, task, settings, num_texts, used, more.get("batch", 1))


def row_of(
    made: Any,
    folder: Path,
    task: str,
    settings: dict[str, Any],
    num_texts: int,
    minutes: float | None,
    batch: int = 1,
) -> ChosenRow:
    """Compare what was made with the original on fresh texts, and sum it up."""
    length, tolerance = settings["length"], settings.get("tolerance")
    original = Original.open(str(folder / "model"), length, tolerance, long=REFUSE)
    changed_N = fresh_changes(made, original, folder / "fresh.parquet", settings["columns"])
    promise, candidates = made.certificate, made.about.candidates
    count = promise["counts"][0]
    held = [candidate for candidate in candidates if holds(candidate)]
    static = [c for c in candidates[1:] if not c["point"] and c["ms"] and likely(c, count["num"])]
    return ChosenRow(
        task=task,
        model=f"{original.config['model_type']}, {original.num_layers} layers of {original.width}",
        num_texts=num_texts,
        num_certify=count["num"],
        agree=promise["agree"],
        confidence=promise["confidence"],
        changes=original.same.changes,
        certified_changed=count["changed"],
        num_fresh=len(changed_N),
        fresh_changed=int(changed_N.sum()),
        original=TimedForm.of(candidates[0], batch),
        static=fastest(static, batch),
        chosen=fastest(held, batch) or TimedForm.of(candidates[0], batch),
        minutes=minutes,
        threads=1,
        machine=processor(),
        commit=git_commit(),
        batch=batch,
    )


def holds(candidate: Mapping[str, Any]) -> bool:
    counts = candidate["tested"] or []
    return bool(counts) and all(count["changed"] <= count["allowed"] for count in counts)


def likely(candidate: Mapping[str, Any], num_certify: int) -> bool:
    """True where it is certified, or would more likely be than not."""
    chances = [count_of(each).chance(num_certify) for each in candidate["selected"]]
    return holds(candidate) or (candidate["tested"] is None and min(chances, default=0.0) >= 0.5)


def count_of(written: Mapping[str, Any]) -> Count:
    return Count(**{key: value for key, value in written.items() if key != "allowed"})


def fastest(candidates: Iterable[Mapping[str, Any]], batch: int) -> TimedForm | None:
    forms = [TimedForm.of(candidate, batch) for candidate in candidates]
    return min(forms, key=lambda form: form.ms, default=None)


def fresh_changes(made: Any, original: Original, path: Path, columns: list[str]) -> np.ndarray:
    """Compare answers to texts that the adaptation did not get with those of transformers."""
    fresh = pd.read_parquet(path)[columns].values.tolist()[:MOST_FRESH]
    texts = read_texts([tuple(row) for row in fresh], columns, len(fresh)).read_by(original.reader)
    split = splits_of(texts, {"fresh": np.arange(len(texts))}, original, path.parent)["fresh"]
    theirs, changed_N = deployed_original(original), np.zeros(len(texts), bool)
    for start in shown(range(0, len(texts), 32), "fresh texts"):
        rows_B = np.arange(start, min(start + 32, len(texts)))
        wanted_BC = theirs.answers(split.batch(rows_B)).logits_BC
        for trace in made.backend.stream([list(texts.rows[i]) for i in rows_B]):
            pair = wanted_BC[trace.rows_B], trace.logits_BC
            changed_N[rows_B[trace.rows_B]] = original.same.changed(*pair)
    return changed_N
