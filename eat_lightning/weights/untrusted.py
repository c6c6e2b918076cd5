"""Check an untrusted model folder before an encoder is created from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from eat_lightning.answer_kind import kind_of
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.model.heads import head_faults
from eat_lightning.model.shape import shape_faults
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.untrusted import json_of
from eat_lightning.weights.families import known_family
from eat_lightning.weights.files import own_config
from eat_lightning.weights.hf_names import type_fault

UNFIT = "not a model that can be loaded"


def model_faults(config: Mapping[str, Any]) -> list[str]:
    """Check a run's config.json; its methods are checked where they are created."""
    faults = shape_faults(config)
    head = config.get("head")
    if not faults:
        faults += head_faults(config["num_layers"], head)
        if isinstance(head, Mapping) and isinstance(named := head.get("layers"), str):
            faults.append(f"head.layers must be a list of layers, got {named!r:.60}")
    for slot in MODEL_SLOTS:
        chosen = config.get(slot)
        if not isinstance(chosen, dict) or not isinstance(chosen.get("kind"), str):
            faults.append(f'{slot} must be a dict such as {{"kind": "<method>"}}, got {chosen!r}')
    names = config.get("id2label")
    names_of = names if isinstance(names, dict) else {}
    numbers = [str(i) for i in range(len(names_of))]
    if not numbers or not all(isinstance(names_of.get(i), str) for i in numbers):
        faults.append(f"id2label must name each class by its number, got {names!r}")
    if not faults:
        try:
            kind_of(config, len(numbers))
        except ValueError as error:
            faults.append(str(error))
    return faults


def read_config(folder: Path) -> dict[str, Any]:
    """Read a config.json, or the encoder's own where a run's model is stored as transformers'
    classifier.

    Raises:
        ConfigError: in one line, if it is invalid or out of range for any model.
    """
    path = folder / "config.json"
    if not path.exists():
        raise ConfigError(f"{folder}: no config.json, so not a model folder")
    with reading(path):
        config = json_of(path)
    kind = config.get("model_type") if isinstance(config, dict) else config
    if not isinstance(config, dict) or (kind != "eat" and known_family(kind) is None):
        raise ConfigError(f"{folder}: {one_line(type_fault(kind))}")
    if (own := own_config(folder)) is not None:
        kind, config = "eat", own
    if kind == "eat" and (faults := model_faults(config)):
        raise ConfigError(f"{folder}: {UNFIT} ({one_line(faults[0])})")
    return config


def claim_faults(
    wanted: Mapping[str, Tensor], sizes: Mapping[str, Sequence[int]], prefix: str = ""
) -> list[str]:
    """List the error of weights whose names or sizes do not match an encoder on torch's meta
    device. If they match, loading takes no more memory than the file itself.
    """
    for name, weight in wanted.items():
        if name not in sizes:
            return [f"its weights lack {prefix}{name}"]
        if (size := [*sizes[name]]) != (says := [*weight.shape]):
            return [f"size mismatch: {name} is {size}, its config says {says}"]
    return []


def weight_faults(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """List the error of weights that do not match an encoder, or contain values that are not
    finite.
    """
    if faults := claim_faults(wanted, {name: weight.shape for name, weight in weights.items()}):
        return faults
    for name, weight in weights.items():
        if weight.is_floating_point() and not weight.float().isfinite().all():
            return [f"{name} holds values that are no numbers (NaN or infinity)"]
    return []
