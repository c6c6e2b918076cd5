"""ModernBERT (Warner et al. 2024) and Ettin (Weller et al. 2025): pre-norm, GeGLU, RoPE with two
bases, and layers with local attention.

Released configs have two formats: every n-th layer global and two named bases, or a type for each
layer and the bases in a dict (transformers 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.weights.family import SIZES, Family

LAYER = r"layers\.(\d+)"
NAMES = {
    r"embeddings\.tok_embeddings": "embedding.word",
    r"embeddings\.norm": "embedding.norm",
    rf"{LAYER}\.attn_norm": r"layers.\1.attention_norm",
    rf"{LAYER}\.attn\.Wqkv": r"layers.\1.qkv",
    rf"{LAYER}\.attn\.Wo": r"layers.\1.out",
    rf"{LAYER}\.mlp_norm": r"layers.\1.output_norm",
    rf"{LAYER}\.mlp\.Wi": r"layers.\1.up",
    rf"{LAYER}\.mlp\.Wo": r"layers.\1.down",
    r"final_norm": "final_norm",
    r"head\.dense": "dense",
    r"head\.norm": "normed",
    r"classifier": "classes",
}
OTHER_SIZES = {
    "dropout": "mlp_dropout",
    "attention_dropout": "attention_dropout",
    "hidden_act": "hidden_activation",
    "eps": "norm_eps",
    "local_window": "local_attention",
}
FIXED = {"type_vocab_size": 0, "absolute_positions": False, "relative": "rotary"}
FIXED |= {"norm": "first", "feed_forward": "gated", "dropout": 0.0, "attention_dropout": 0.0}
GLOBAL, LOCAL = "full_attention", "sliding_attention"
BIASES = ("attention_bias", "mlp_bias", "norm_bias")


def layer_types(config: Mapping[str, Any]) -> list[Any]:
    every = config.get("global_attn_every_n_layers", 3)
    counted = [LOCAL if i % every else GLOBAL for i in range(config["num_hidden_layers"])]
    return config.get("layer_types") or counted


def rope_of(config: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    old = {GLOBAL: ("global_rope_theta", 160_000.0), LOCAL: ("local_rope_theta", 10_000.0)}
    key, usual = old[kind]
    found = (config.get("rope_parameters") or {}).get(kind) or {}
    return {"rope_type": "default", "rope_theta": config.get(key, usual), **found}


def parts(config: Mapping[str, Any]) -> dict[str, Any]:
    local = [i + 1 for i, kind in enumerate(layer_types(config)) if kind == LOCAL]
    return {
        "rotary_base": rope_of(config, GLOBAL)["rope_theta"],
        "local_rotary_base": rope_of(config, LOCAL)["rope_theta"],
        "local_layers": local,
        "biases": any(config.get(key, False) for key in BIASES),
    }


def settings(shape: Shape) -> dict[str, Any]:
    local = [number + 1 in shape.local_layers for number in range(shape.num_layers)]
    bases = {GLOBAL: shape.rotary_base, LOCAL: shape.local_rotary_base}
    return {
        "layer_types": [LOCAL if is_local else GLOBAL for is_local in local],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()
        },
        "embedding_dropout": shape.dropout,
        "classifier_dropout": shape.dropout,
        "classifier_pooling": "cls",
        "classifier_bias": shape.biases,
        "sep_token_id": shape.sep_token_id,
        **dict.fromkeys(BIASES, shape.biases),
    }


def faults(config: Mapping[str, Any]) -> list[str]:
    found = []
    if len({bool(config.get(key, False)) for key in BIASES}) > 1:
        found.append(f"{', '.join(BIASES)} must be alike")
    types = layer_types(config)
    if not isinstance(types, list) or {*map(str, types)} - {GLOBAL, LOCAL}:
        found.append(f"layer_types must be made of {GLOBAL} and {LOCAL}, got {types!r:.60}")
    ropes = {str(rope_of(config, kind)["rope_type"]) for kind in (GLOBAL, LOCAL)}
    if strange := sorted(ropes - {"default"}) or config.get("rope_scaling"):
        found.append(f"rope_type must be default, got {strange!r:.60}")
    return found[:1]


FAMILY = Family(
    ("modernbert",),
    "model.",
    NAMES,
    parts,
    settings,
    small={
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 300,
        "local_attention": 8,
        "pad_token_id": 0,
        **{"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
    },
    fixed=FIXED,
    sizes=SIZES | OTHER_SIZES,
    faults=faults,
    activation="gelu",
    norm=True,
    sep_token_id=50282,
)
