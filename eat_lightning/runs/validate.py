"""Checks of a run's files when it is opened, before anything that they name is called."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from eat_lightning.config import arguments, binding_faults, make, target
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.model.specification import MODEL_SLOTS, fills, home
from eat_lightning.user_modules import ALLOW, allowed_modules, where_absent
from eat_lightning.validation import NotNegative, value_faults


def links_out(folder: Path) -> list[str]:
    """List links in a run's folder that point outside it. Following them could read or write files
    that its author does not own.
    """
    root = folder.resolve()
    inside = (folder / name for name in ("model", "model/exits", "certificates", "dial"))
    found = [*folder.iterdir(), *(path for each in inside for path in each.glob("*"))]
    return [
        f"{path}: a link that leads out of the run, put the file itself there"
        for path in sorted(found)
        if path.is_symlink() and not path.resolve().is_relative_to(root)
    ]


HOMES = {  # what a run's config may name, and where its classes lie
    "task": "eat_lightning.data.",
    "data": "eat_lightning.data.",
    **{slot: f"{home(slot)}." for slot in MODEL_SLOTS},
}
DATA_PARTS = {"task": ("faults", "regression"), "data": ("faults", "split")}  # of such a class


def place_faults(slot: str, node: Any) -> list[str]:
    """Check the origin of a `_target_` in a run's config before it is imported.

    It must lie in the package itself, be imported already, or be allowed by naming its module in
    EAT_IMPORT.
    """
    name = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(name, str):
        return [f"{slot}._target_ must name a class"]
    module_name = name.rpartition(".")[0]
    known = {*sys.modules, *allowed_modules()}
    if module_name.startswith(HOMES[slot]) or (module_name and module_name in known):
        return []
    return [
        f"{slot}._target_ is {one_line(repr(name), 80)}: a run's config alone does not import "
        f"it: set {ALLOW}=<its module> if you trust it"
    ]


def target_faults(slot: str, node: Any) -> list[str]:
    """Check a `_target_` in a run's config, before it is called."""
    if faults := place_faults(slot, node):
        return faults
    name = node["_target_"]
    module_name, _, class_name = name.rpartition(".")
    try:
        importlib.import_module(module_name)
    except TypeError as error:  # a hook is misspelt
        return [f"{slot}._target_: {one_line(str(error))}"]
    except (ImportError, ValueError):
        return [f"{slot}._target_: there is no {one_line(repr(name))}{where_absent(name)}"]
    # Not getattr: a module may import what it is asked for.
    cls = vars(sys.modules[module_name]).get(class_name)
    is_outside = (
        not module_name.startswith(HOMES[slot]) or getattr(cls, "__module__", "") == module_name
    )
    if slot in DATA_PARTS:
        is_for = inspect.isclass(cls) and all(hasattr(cls, part) for part in DATA_PARTS[slot])
    else:
        is_for = fills(slot, cls)
    if not is_outside or not is_for:
        return [f"{slot}._target_: {one_line(repr(name))} is no class for this"]
    return []


def data_faults(run: Any, **changes: Any) -> list[str]:
    """List errors in a run's data that can be found without loading it.

    Args:
        changes: settings that replace the run's, where they are not None.
    """
    changed = {key: value for key, value in changes.items() if value is not None}
    node = run.config.get("data", {}) | changed
    if faults := target_faults("data", node) or binding_faults("data", node):
        return faults
    data: Any = target(node)
    return data.faults(run.task, **arguments(node))


def split_faults(split: Any, known: Iterable[str], where: str) -> list[str]:
    if split in (known := list(known)):
        return []
    return [f"split must be one of {', '.join(known)} for {where}, got {split!r}"]


Limit = Annotated[int, Field(ge=8)] | None
NOTED = ("temperature", "ece_before", "ece_after")  # of each exit, when training ended
KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("encoder", "head", "trainer", "task", "data", "objective", "schedule"), dict),
    "model": str,
    "seed": int,
    "study": (str, int, float),
    "teacher": (str, type(None)),
}


def run_faults(config: dict[str, Any], done: Any) -> list[str]:
    """Check a run's files before anything that they name is called."""
    nodes = {slot: node for slot in HOMES if names_a_class(node := config.get(slot) or {})}
    light = [slot for slot in nodes if slot != "data"]  # its class brings Lightning: where used
    faults = [f for slot in light for f in target_faults(slot, nodes[slot])]
    faults += place_faults("data", nodes["data"]) if "data" in nodes else []
    faults += [] if faults else [f for slot in light for f in binding_faults(slot, nodes[slot])]
    if not faults and "task" in nodes:
        faults += task_faults(nodes["task"])
    limit = nodes.get("data", {}).get("max_length")
    faults += value_faults(Limit, "data.max_length", limit)
    given = {key: kind for key, kind in KINDS.items() if key in config}
    wrong = [key for key, kind in given.items() if not isinstance(config[key], kind)]
    faults += [f"config.yaml: {key} cannot be {config[key]!r}" for key in wrong]
    if not isinstance(done, dict):
        return [*faults, "done.json: not the record of a run"]
    calibration = done.get("calibration") or {}
    whole = isinstance(calibration, dict) and all(
        isinstance(found, dict)
        and not any(value_faults(NotNegative, n, found.get(n)) for n in NOTED)
        for found in calibration.values()
    )
    return faults if whole else [*faults, "done.json: calibration is not the record of a run"]


def names_a_class(node: Any) -> bool:
    """True if a config's node names a class. Nodes that name none are rejected where
    they are used.
    """
    return isinstance(node, dict) and "_target_" in node


def task_faults(node: dict[str, Any]) -> list[str]:
    texts = ("columns", "labels", "metrics")
    lists = [node.get(key) or [] for key in texts]
    if not all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in lists):
        return [f"config.yaml: task's {', '.join(texts)} must be lists of names"]
    name = node.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        return [f"config.yaml: task.name must be a plain name, got {name!r}"]
    try:
        make(node)
    except (ConfigError, TypeError, AttributeError) as error:
        return [f"config.yaml: {error}"]
    return []
