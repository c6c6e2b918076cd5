"""The certificates in the folder of a run or an export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from eat_lightning.bundle.onnx_runner import read_about
from eat_lightning.errors import ConfigError
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.record.certificate import Certificate, Home, path_of


def certificate_of(home: Home, name: Any) -> Certificate:
    """Return a certificate of a run or an export.

    Raises:
        ConfigError: in one line, where there is none.
    """
    is_run = (home.folder / "model").is_dir()
    made_of = f"{home.folder}" if is_run else of_export(home.folder)
    found = Certificate.read(home, name, f"certify run={made_of}")
    if lacking := [slot for slot in MODEL_SLOTS if found.holds_for.get(slot) is None]:
        path = path_of(home.folder, name)
        raise ConfigError(f"{path}: not a certificate of a run (it lacks {', '.join(lacking)})")
    return found


def of_export(folder: Path) -> str:
    """Return a command's arguments for an export: its run, under the recorded name, and
    its folder.
    """
    try:
        name = read_about(folder).get("run")
    except ValueError:
        name = None
    plain = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+@-]*", name)
    return f".../{name} onnx={folder}" if plain else f"... onnx={folder}"
