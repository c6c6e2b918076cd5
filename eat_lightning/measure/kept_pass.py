"""A pass that an earlier call recorded, read instead of run again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.infer.record import Recorded
from eat_lightning.model.contracts import ExitRule, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.runs.row import Row, read
from eat_lightning.runs.run import Run, is_clean, provenance


def kept_pass(run: Run, file: str, backbone: AdaptiveEncoder, split: Any) -> Recorded | None:
    """Read the guesses of every exit from an earlier measurement of the same weights. None where
    the code, the processor or the weights have changed since, and for a rule whose signals are
    recorded: the file does not say which rule's they are."""
    path, rows = run.folder / file, read(run.folder / "rows.jsonl")
    measured = sorted((row for row in rows if row.examples == file), key=lambda row: row.created)
    if overrides(backbone.exit, ExitRule.observe) or not (measured and is_of_here(measured[-1])):
        return None
    weights = (each.stat().st_mtime_ns for each in (run.folder / "model").iterdir())
    if not path.is_file() or path.stat().st_mtime_ns <= max(weights):
        return None
    try:
        found = Recorded.read(path)
    except ConfigError:
        return None
    methods = {"exit": backbone.exit, "policies": backbone.policies}
    return replace(found, **methods, batch=split.batch, data=split.source.digest[:16])


def is_of_here(row: Row) -> bool:
    """True where a row was measured by this clean commit on a processor of this kind. A row with a
    method from outside the package is not: no commit records that code."""
    here = provenance()
    same = (row.machine, row.commit, row.version) == tuple(here.values())
    return same and is_clean(here["commit"]) and row.device == "cpu" and not row.sources
