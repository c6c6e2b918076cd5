"""A run's own graphs, kept beside it, so that any engine can be asked for by name."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.files import sha256_of
from eat_lightning.infer.onnx_runner import ABOUT
from eat_lightning.model.contracts import specs_by_slot
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.runs.run import Run, version_of

FOLDER = "engines"  # in a run's


def made_of(run: Run, encoder: AdaptiveEncoder, dtype: str) -> dict[str, Any]:
    """What decides graphs: weights, methods, what they are computed in, and the code."""
    return {
        "weights": sha256_of([run.folder / "model" / "model.safetensors"]),
        **specs_by_slot(encoder),
        "strength": encoder.strength.item(),
        "dtype": dtype,
        "eat_lightning": version_of("eat_lightning"),
    }


def own_export(run: Run, encoder: AdaptiveEncoder, labels: list[str], dtype: str) -> Path:
    """The folder with this encoder's graphs, which are made where they are not there yet.
    encoder: in fp32, plain. ConfigError where it cannot be exported."""
    from eat_lightning.export.bundle import Bundle
    from eat_lightning.export.plan import export_slot_faults, package_faults

    graphs = "int8" if dtype == "int8" else "fp32"
    content = json.dumps(made_of(run, encoder, graphs), sort_keys=True)
    folder = run.folder / FOLDER / f"{graphs}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if (folder / ABOUT).is_file():
        return folder
    if faults := package_faults() + export_slot_faults(encoder):
        raise ConfigError.of(faults)
    folder.parent.mkdir(exist_ok=True)
    with redirect_stdout(sys.stderr):  # standard output is for answers
        print(f"{run.name}: its graphs are made, once", flush=True)
        Bundle(run, encoder, labels if encoder.num_labels > 1 else [], graphs).write(folder)
    return folder
