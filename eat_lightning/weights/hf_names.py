"""Translate names of sizes and weights between transformers and the encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from eat_lightning.model.shape import Shape
from eat_lightning.validation import did_you_mean
from eat_lightning.weights.families import FAMILIES
from eat_lightning.weights.family import Family

LETTERS = ("q", "k", "v")
WORDS = ("query", "key", "value")


def sizes_of(config: dict[str, Any], sep_token_id: int) -> dict[str, Any]:
    """Return the fields of `Shape` from a config.json, Hugging Face's or a run's, not
    yet checked.
    """
    if config["model_type"] == "eat":
        return {f.name: config[f.name] for f in fields(Shape) if f.name in config}
    return FAMILIES[config["model_type"]].shape_of(config, sep_token_id)


def type_fault(kind: Any) -> str:
    """Say that a model_type is not supported, and name the nearest one that is."""
    known, got = [*FAMILIES, "eat"], str(kind)[:60]
    return f"model_type must be one of {', '.join(known)}, got {got!r}{did_you_mean(got, known)}"


def ours_of(names: Iterable[str], family: Family) -> dict[str, str]:
    """Return the encoder's name for each of a model's supported names. A pooler or classifier
    becomes "dense.*" and "classes.*".
    """
    found = {}
    # Longest pattern first, so that classifier.dense is not taken for classifier.
    patterns = sorted(family.names.items(), key=lambda item: -len(item[0]))
    for theirs in names:
        name = theirs.removeprefix(family.prefix)
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        for pattern, ours in patterns:
            renamed, count = re.subn(rf"^{pattern}(?=\.(weight|bias)$)", ours, name)
            if count:
                found[theirs] = renamed
                break
    return found


def rename(weights: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Rename a model's weights to the encoder's names; unsupported ones are left out."""
    return {ours: weights[theirs] for theirs, ours in ours_of(weights, family).items()}


def fuse(weights: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """Concatenate q, k and v of each layer where they are separate matrices."""
    fused = dict(weights)
    for i in range(num_layers):
        home = f"layers.{i}."
        names = WORDS if f"{home}query.weight" in weights else LETTERS
        ends = ("weight", "bias") if f"{home}up.bias" in weights else ("weight",)
        for end in ends if f"{home}qkv.weight" not in weights else ():
            parts = [fused.pop(f"{home}{name}.{end}") for name in names]
            fused[f"{home}qkv.{end}"] = torch.cat(parts)
    return fused


def unfused(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split each layer's qkv matrix, under either naming; the inverse of `fuse`."""
    apart = dict(weights)
    for name, weight in weights.items():
        if match := re.fullmatch(r"(layers\.\d+\.)qkv(\.\w+)", name):
            for letter, word, part in zip(LETTERS, WORDS, weight.chunk(3), strict=True):
                apart[match[1] + letter + match[2]] = apart[match[1] + word + match[2]] = part
    return apart


def tuned_weights(weights: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """Return a run's backbone and its last head under the names of a pretrained one.

    Pruning and distillation often start from such fine-tuned weights (PoWER-BERT, Goyal et al.
    2020; LTP, Kim et al. 2022). Other heads and the pruning strength are specific to the run's
    training.
    """
    ours = {name.removeprefix("encoder."): weight for name, weight in weights.items()}
    last, kept = f"heads.{num_layers}.", {}
    for name, weight in ours.items():
        if name.startswith(last):
            kept[name.removeprefix(last)] = weight
        elif name != "strength" and not name.startswith("heads."):
            kept[name] = weight
    return kept
