"""A finished run's model as a body to start from, as pruning and distilling often do (PoWER-BERT,
Goyal et al. 2020; LTP, Kim et al. 2022): fine-tuned weights, under our own names."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import Shape
from eat_lightning.weights.hf_names import sizes_of
from eat_lightning.weights.untrusted import one_line, shape_faults

HOME = "encoder."  # in front of the names in a model folder


def source_shape(config: dict[str, Any], folder: Path, sep_token_id: int) -> Shape:
    """The shape of a body or of a run's model; ConfigError where no encoder can have it."""
    tuned = config["model_type"] == "eat"
    try:
        sizes = sizes_in_run(config) if tuned else sizes_of(config, sep_token_id)
        faults = shape_faults(sizes)
        if not faults:
            return Shape(**sizes)
    except (TypeError, KeyError) as error:
        faults = [f"lacks sizes ({error})"]
    raise ConfigError(f"{folder / 'config.json'}: {one_line(faults[0])}")


def sizes_in_run(config: dict[str, Any]) -> dict[str, Any]:
    return {f.name: config[f.name] for f in fields(Shape) if f.name in config}


def tuned_weights(weights: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """The body, and the last head under the names of a pretrained one (`dense`, `classes`); other
    heads, temperatures and the pruning strength belong to the training that made them."""
    own = {name.removeprefix(HOME): weight for name, weight in weights.items()}
    body = {name: weight for name, weight in own.items() if not name.startswith("heads.")}
    body.pop("strength", None)
    last = f"heads.{num_layers}."
    return body | {
        name.removeprefix(last): weight
        for name, weight in own.items()
        if name.startswith(last) and name.endswith((".weight", ".bias"))
    }
