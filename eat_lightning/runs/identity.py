"""What decides the answers of a run, for which its certificates and drift references hold."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.files import sha256_of
from eat_lightning.infer.onnx_runner import read_about
from eat_lightning.machine import MACHINE, machine
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.record.certificate import TORCH, Certificate, path_of
from eat_lightning.runs.run import OUTSIDE, Run
from eat_lightning.user_modules import sources_of
from eat_lightning.weights.precision import PLAIN


def certificate_of(home: Any, name: Any) -> Certificate:
    """A certificate of a run or of an export. ConfigError, in one line, where there is none."""
    made_of = f"{home.folder}" if isinstance(home, Run) else of_export(home.folder)
    found = Certificate.read(home, name, f"certify run={made_of}")
    if lacking := [slot for slot in MODEL_SLOTS if found.holds_for.get(slot) is None]:
        path = path_of(home.folder, name)
        raise ConfigError(f"{path}: not a certificate of a run (it lacks {', '.join(lacking)})")
    return found


def of_export(folder: Path) -> str:
    """Return a command's arguments for an export: its run, by the name that the export records, and
    its folder."""
    try:
        name = read_about(folder).get("run")
    except ValueError:
        name = None
    plain = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+@-]*", name)
    return f".../{name} onnx={folder}" if plain else f"... onnx={folder}"


def combination(
    run: Run, methods: dict[str, Any], dtype: str, device: str, form: str = PLAIN
) -> dict[str, Any]:
    """Return the combination that a certificate holds for: weights, cut, methods, the files of
    those from outside the package, dtype, form, device and versions. Of the calibration part it has
    only the cut; the examples are `calibration_of`.

    Args:
        methods: specifications by slot; of `policy`, if any, a list.
        dtype: of `DTYPES`'s values.
        form: of the weights, see `weights.precision`.
    """
    import torch

    model = run.folder / "model"
    others = methods.get("policy", [])
    second = [Path(folder) for one in others if (folder := one.arguments.get("run"))]
    files = sorted(p for p in model.iterdir() if p.is_file() and p.suffix in (".json", ".txt"))
    return {
        "weights": sha256_of([model / "model.safetensors"]),
        "model": sha256_of(files),
        "cut": cut_of(run),
        **{slot: methods[slot] for slot in MODEL_SLOTS},
        "policy": others,
        "sources": sources_of(methods[slot].made_of for slot in MODEL_SLOTS),
        "second": [sha256_of([each / "model" / "model.safetensors"]) for each in second],
        "dtype": dtype,
        "form": form,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "runtime": TORCH,
        "torch": torch.__version__,
        MACHINE: machine(),
    }


def cut_of(run: Run) -> str:
    """The settings that decide which examples are held out, and how long a text may be."""
    data = {k: v for k, v in run.config.get("data", {}).items() if k not in OUTSIDE["data"]}
    settings = json.dumps([run.config.get("task"), data], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()


def calibration_of(data: Any) -> str:
    """The hash of the calibration part: texts, labels and where they come from, in order."""
    return data.source("certificate").digest
