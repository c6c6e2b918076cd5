"""`eat_lightning.measure`: the command as a Python function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pandas import DataFrame, json_normalize

from eat_lightning.composing import composed
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation import command
from eat_lightning.files import as_dict, fields_of


def measure(given: Mapping[str, Any]) -> DataFrame:
    """Do the work of `eat_lightning.measure`, whose arguments are `given`."""
    try:
        rows = command.measure(config_of(given))
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return json_normalize([json.loads(json.dumps(fields_of(row), default=as_dict)) for row in rows])


def config_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as the settings of the command. None, and keys that a mapping leaves out,
    stand for the yaml's values. Raises ConfigError for unknown choices."""
    overrides, settings = [], {}
    for key, argument in given.items():
        value = plain(argument)
        name = choice(key, value)
        if name is not None:
            overrides.append(f"{key}={name}")
        if isinstance(value, dict):
            settings[key] = {k: v for k, v in value.items() if k != "kind" or name is None}
        elif value is not None and name is None:
            settings[key] = value
    return composed("measure", overrides, settings)


def choice(key: str, value: Any) -> str | None:
    """Return what an argument chooses from a group of Hydra, as an override has it; None where it
    changes settings only."""
    match key, value:
        case "policy", str() | list() | dict() if value:
            return f"[{','.join([value] if isinstance(value, str) else value)}]"
        case (("attention" | "reduction" | "exit" | "logger"), str(name) | {"kind": str(name)}):
            return name
    return None


def plain(value: Any) -> Any:
    """Return a value with lists for sequences and text for paths, as a yaml has them."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
