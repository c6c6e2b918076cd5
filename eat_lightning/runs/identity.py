"""Everything that decides a run's answers. Certificates and drift references are valid
for it only.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from eat_lightning.files import sha256_of
from eat_lightning.machine import MACHINE, machine
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.record.point import Point
from eat_lightning.runs.run import OUTSIDE, Run
from eat_lightning.user_modules import sources_of
from eat_lightning.weights.files import EXITS, model_files


def combination(run: Run, point: Point, device: str) -> dict[str, Any]:
    """Return the combination that a certificate is valid for: weights, split, point with the
    sources of methods from outside the package, device and versions. Of the calibration split it
    holds only the settings; `calibration_of` hashes the examples.
    """
    import torch

    model = run.folder / "model"
    others = [one.arguments for one in point.policies or ()]
    second = [Path(folder) for given in others if (folder := given.get("run"))]
    places = (p for within in (model, model / EXITS) if within.is_dir() for p in within.iterdir())
    files = sorted(p for p in places if p.is_file() and p.suffix in (".json", ".txt"))
    return {
        "weights": sha256_of(model_files(model)),
        "model": sha256_of(files),
        "cut": cut_of(run),
        "point": point.as_dict(),
        "sources": sources_of(point.methods[slot].made_of for slot in MODEL_SLOTS),
        "second": [sha256_of(model_files(each / "model")) for each in second],
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "torch": torch.__version__,
        **point.computation,
        MACHINE: machine(),
    }


def cut_of(run: Run) -> str:
    """Settings that decide which examples are held out, and the maximum length of a text."""
    data = {k: v for k, v in run.config.get("data", {}).items() if k not in OUTSIDE["data"]}
    settings = json.dumps([run.config.get("task"), data], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()


def calibration_of(data: Any) -> str:
    """Hash of the calibration part: texts, labels and their sources, in order."""
    return data.source("certificate").digest
