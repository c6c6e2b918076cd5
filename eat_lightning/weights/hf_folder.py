"""Convert an encoder to transformers' own model of its family, which opens without this package.

That model runs every layer on every token. A run's model keeps exits and methods in a folder beside
it, from which this package opens the encoder as it was trained.

Shapes: D width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eat_lightning.errors import ConfigError
from eat_lightning.files import write_text
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import Specification
from eat_lightning.weights.checkpoint import backbone_weights, model_config, save_model
from eat_lightning.weights.families import family_of
from eat_lightning.weights.family import POOLINGS
from eat_lightning.weights.files import EXITS, read_weights, save_weights
from eat_lightning.weights.hf_names import ours_of, unfused


def empty_backbone(shape: Shape) -> nn.Module:
    """Return transformers' model of a shape's family, without a pooler, with random weights."""
    from transformers import AutoModel

    backbone: Any = AutoModel.from_config(config_of(shape))
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return backbone


def config_of(shape: Shape, **settings: Any) -> Any:
    """Return transformers' config of a shape. Its heads must fill the width, so heads and inner
    neurons that a narrowed encoder lacks are present and output zero.
    """
    from transformers import AutoConfig

    whole = replace(shape, num_heads=shape.hidden_size // shape.width_of_head, head_width=0)
    settings_kept = family_of(shape).config_of(whole) | settings
    return AutoConfig.for_model(settings_kept.pop("model_type"), **settings_kept)


def weights_for(model: nn.Module, encoder: AdaptiveEncoder) -> dict[str, Tensor]:
    """Return the encoder's weights under the names of a transformers model. Raises KeyError for a
    missing one.
    """
    weights = encoder_weights(encoder)
    names = ours_of(model.state_dict(), family_of(encoder.shape))
    return {theirs: weights[ours] for theirs, ours in names.items()}


def encoder_weights(encoder: AdaptiveEncoder) -> dict[str, Tensor]:
    """Return the backbone's weights under all names that families use, and the last head's."""
    shape, state = encoder.shape, dict(encoder.state_dict())
    width = shape.hidden_size
    for i in range(shape.num_distinct):
        home = f"layers.{i}."
        for name in [n for n in state if n.startswith(f"{home}qkv.")]:
            state[name] = torch.cat([filled(x, 0, width) for x in state[name].chunk(3)])
        state[f"{home}out.weight"] = filled(state[f"{home}out.weight"], 1, width)
        inner, halves = shape.intermediate_size, shape.up_width // shape.intermediate_size
        for name in [n for n in state if n.startswith(f"{home}up.")]:
            state[name] = torch.cat([filled(x, 0, inner) for x in state[name].chunk(halves)])
        state[f"{home}down.weight"] = filled(state[f"{home}down.weight"], 1, inner)
    # Theirs always have token types.
    none = torch.zeros_like(state["embedding.word.weight"][:1])
    state.setdefault("embedding.token_type.weight", none)
    last = f"heads.{shape.num_layers}."
    head = {n.removeprefix(last): w for n, w in state.items() if n.startswith(last)}
    for name in ("classes.weight", "classes.bias"):  # theirs have no temperature
        if name in head and "temperature" in head:
            head[name] = head[name] / head["temperature"].to(head[name].dtype)
    return unfused(state) | head


def filled(weight: Tensor, axis: int, size: int) -> Tensor:
    """Pad with zeros at the end of an axis, up to `size`."""
    further_axes = [0, 0] * (weight.ndim - 1 - axis)  # of which F.pad wants the last one first
    return F.pad(weight, [*further_axes, 0, size - weight.shape[axis]])


def head_settings(encoder: AdaptiveEncoder) -> dict[str, Any]:
    """Return the last head's settings in config.json.

    Raises:
        ConfigError: where its family has no such head.
    """
    family = family_of(encoder.shape)
    last: Any = encoder.heads[str(encoder.shape.num_layers)]
    head = Specification.of("head", last).as_dict()
    pools = ("cls", "mean") if POOLINGS in family.settings(encoder.shape) else ("cls",)
    wanted: Mapping[str, tuple[Any, ...]] = {
        "kind": ("pooled",),
        "pool": pools,
        "activation": (family.activation,),
        "norm": (family.norm,),
    }
    for key, among in wanted.items():
        if head.get(key, False) not in among:
            known = " or ".join(str(one) for one in among)
            raise ConfigError(
                f"head.{key} must be {known} in a classifier of {family.name}, got {head.get(key)}"
            )
    return {POOLINGS: head["pool"]} if len(pools) > 1 else {}


def save_classifier(encoder: AdaptiveEncoder, labels: list[str], folder: Path) -> None:
    """Write config.json and model.safetensors of transformers' classifier with the same weights.
    Its answers equal those of the encoder with every layer and token.
    """
    from transformers import AutoModelForSequenceClassification

    ours = model_config(encoder, labels)
    shared = {key: ours[key] for key in ("id2label", "label2id", "dtype")}
    shared |= {"problem_type": encoder.kind.problem_type}
    config = config_of(encoder.shape, **shared, **head_settings(encoder))
    model: Any = AutoModelForSequenceClassification.from_config(config)
    missing = model.load_state_dict(weights_for(model, encoder), strict=False).missing_keys
    assert not missing, missing
    save_weights(model.to(encoder.embedding.word.weight.dtype).state_dict(), folder)
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    write_text(folder / "config.json", json.dumps(config, indent=2, default=str))


def save_run_model(
    encoder: AdaptiveEncoder,
    labels: list[str],
    folder: Path,
    objective: Specification | None = None,
) -> None:
    """Write a trained encoder as transformers' classifier, and in `exits/` its own config and the
    weights that the classifier lacks or has in another form. An encoder that no family of
    transformers has is written in its own form alone.

    Args:
        objective: the training objective, stored for further training.
    """
    if not has_family(encoder, labels):
        return save_model(encoder, labels, folder, objective)
    about = model_config(encoder, labels)
    about |= {} if objective is None else {"objective": objective.as_dict()}
    save_classifier(encoder, labels, folder)
    written = backbone_weights(read_weights(folder), folder, encoder.shape.num_distinct)
    state = encoder.state_dict()
    alike = {n for n, w in written.items() if n in state and torch.equal(w, state[n].cpu())}
    save_weights({n: w for n, w in state.items() if n not in alike}, folder / EXITS)
    write_text(folder / EXITS / "config.json", json.dumps(about, indent=2))


def has_family(encoder: AdaptiveEncoder, labels: list[str]) -> bool:
    """True if a model of transformers has an encoder's shape, last head and outputs."""
    shape, family = encoder.shape, family_of(encoder.shape)
    if encoder.kind.width != len(labels):
        return False
    try:
        head_settings(encoder)
        config = config_of(shape).to_dict()
        theirs = Shape(**family.shape_of(config, shape.sep_token_id))
    except (ConfigError, ValueError, TypeError, KeyError):
        return False
    return theirs == replace(shape, layerdrop=theirs.layerdrop, family=theirs.family)
