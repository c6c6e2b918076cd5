"""The head in a pretrained folder: its structure, and the heads that it initialises."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.weights.families import FAMILIES
from eat_lightning.weights.family import POOLINGS

NEW_HEAD = {"activation": "tanh", "norm": False}


def heads_from(
    weights: dict[str, Tensor], encoder: AdaptiveEncoder, where: str, whole: bool = False
) -> dict[str, Tensor]:
    """Return the initial weights of heads. A pretrained pooler initialises every head's dense
    layer, and a classifier the last head, as far as names and sizes match.

    Args:
        whole: include the temperature.
    """
    last = str(encoder.shape.num_layers)
    num_labels = len(weights.get("classes.weight", range(encoder.num_labels)))
    if num_labels != encoder.num_labels:
        raise ConfigError(
            f"{where}: its classifier has {num_labels} classes, the task {encoder.num_labels}"
        )
    heads = {}
    for layer, head in encoder.heads.items():
        keeps = whole and layer == last
        for name, parameter in (
            head.state_dict() if keeps else dict(head.named_parameters())
        ).items():
            fits = name in weights and weights[name].shape == parameter.shape
            if fits and (layer == last or name.startswith(("dense.", "normed."))):
                heads[f"heads.{layer}.{name}"] = weights[name]
    return heads


def head_found(config: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return the structure of a folder's head; that of BERT's if it has none."""
    if config["model_type"] == "eat":
        last = last_head(config["head"])
        return {"activation": last.get("activation"), "norm": last.get("norm", False)}
    if "dense.weight" not in weights:
        return NEW_HEAD
    family = FAMILIES[config["model_type"]]
    return {"activation": family.activation, "norm": family.norm}


def last_head(head: dict[str, Any]) -> dict[str, Any]:
    """Return kind and arguments of a run's last head."""
    return head.get("last") or {key: value for key, value in head.items() if key != "layers"}


def classifier_found(
    config: dict[str, Any], weights: dict[str, Tensor], found: dict[str, Any]
) -> dict[str, Any] | None:
    """Return kind and arguments of a folder's classifier; None where it has none."""
    if config["model_type"] == "eat":
        return last_head(config["head"])
    if "classes.weight" not in weights:
        return None
    without_dense = {} if "dense.weight" in weights else {"activation": None}
    return {"kind": "pooled", "pool": config.get(POOLINGS, "cls"), **found, **without_dense}
