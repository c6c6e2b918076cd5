"""Trials of engines for one model on this machine: whether they answer as it does, and how long
they take. The file lies with the model, and holds for the machine that it names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eat_lightning.files import as_dict, write_json
from eat_lightning.machine import processor, version_of

FILE = "engines.json"  # in a run's folder, or an export's
PACKAGES = ("eat_lightning", "torch", "onnxruntime", "openvino")
MOST = 1 << 20  # bytes that are read


@dataclass(frozen=True)
class EngineTrial:
    """An engine on a model. machine: processor, threads and versions; elsewhere it is tried again.
    model: a hash of what decides its answers and their cost. fault: why it is not to be used, in a
    line. ms: of an example, by the number of examples at once ("1", "32"); empty: not raced."""

    engine: str
    machine: dict[str, Any]
    model: str
    fault: str | None = None
    ms: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        return self.engine, self.machine, self.model


def digest_of(content: dict[str, Any]) -> str:
    """A hash of what decides a model's answers and their cost."""
    whole = json.dumps(content, sort_keys=True, default=as_dict)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def this_machine(threads: int) -> dict[str, Any]:
    versions = {name: version_of(name) for name in PACKAGES}
    return {"processor": processor(), "threads": threads, "packages": versions}


def read(folder: Path) -> list[EngineTrial]:
    """Nothing where there is no such file, or it is not one of ours: engines are then tried."""
    path = folder / FILE
    try:
        if path.stat().st_size > MOST:
            return []
        return [EngineTrial(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def keep(folder: Path, new: list[EngineTrial]) -> bool:
    """Keep this in place of what was known of the same; False where the folder cannot be
    written."""
    keys = [entry.key for entry in new]
    kept = [entry for entry in read(folder) if entry.key not in keys]
    try:
        write_json(folder / FILE, [asdict(entry) for entry in kept + new])
    except OSError:
        return False
    return True
