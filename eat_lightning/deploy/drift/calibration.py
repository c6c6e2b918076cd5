"""Make the reference of a run or an export, from the calibration part that nothing is fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from eat_lightning.bundle.bundle import is_adapted
from eat_lightning.bundle.model import Model
from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.source import ORIGIN
from eat_lightning.deploy.drift.plan import DriftSettings
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import CUT
from eat_lightning.monitor.observation import Observation, observations
from eat_lightning.monitor.reference import Reference, check_watched, made_with
from eat_lightning.progress import shown
from eat_lightning.runs.run import Run


def made(plan: DriftSettings, model: Model) -> Iterator[dict[str, Any]]:
    """Make what is normal, and write it beside the model."""
    check_watched(model.kind, (), ())
    if is_adapted(plan.run):
        raise ConfigError(f"run={plan.run}: adapt made its reference: give drift a stream")
    split = Run.open(plan.run).data(dir=plan.data.dir).split("certificate")
    reference = make_reference(model, split, plan.batch)
    path = reference.write(model.folder, plan.certificate)
    yield {"event": "reference", "examples": len(reference.seen), "saved": str(path)}


def make_reference(model: Model, split: Any, batch: int) -> Reference:
    """Make a model's reference. ConfigError where the calibration part gives none."""
    check_watched(model.kind, model.policies, {ORIGIN} if split.origins is not None else ())
    return Reference(normal(model, split, batch), made_with(model))


def normal(model: Model, split: Any, batch: int) -> list[Observation]:
    """Return the observations of a split, in its order. All examples run every layer, so that
    batches stay as large as they are. ConfigError for a text that is refused."""
    windows = model.reader.long.mode == "windows"
    reader = model.reader if windows else replace(model.reader, long=CUT)  # as the split's
    found: dict[int, Observation] = {}
    title = f"{model.name}: what is normal"
    for rows in shown(sorted_batches(split.lengths, batch), title):
        texts = [list(split.text(i)) for i in rows]
        about = [{} if split.origins is None else {ORIGIN: split.origins[i]} for i in rows]
        for trace in model.stream(texts, about, deep=True, reader=reader):
            for place, why in trace.errors.items():
                raise ConfigError(f"{why} in row {rows[place]} of the calibration part")
            found |= dict(zip(rows[trace.rows_B].tolist(), observations(trace), strict=True))
    return [found[i] for i in range(len(split))]
