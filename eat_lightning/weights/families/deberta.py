"""DeBERTa-v2 and v3 (He et al. 2021; 2023): disentangled attention over an embedding of relative
positions that all layers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.weights.families import bert
from eat_lightning.weights.family import BERT_NAMES, SIZES, TYPES, Family

NAMES = {
    r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)_proj": r"layers.\1.\2",
    r"encoder\.rel_embeddings": "relative",
    r"encoder\.LayerNorm": "relative.norm",
}
WANTED = {  # as all released ones have it
    "relative_attention": (True, False),
    "share_att_key": (True, False),
    "norm_rel_ebd": ("layer_norm", "none"),
    "conv_kernel_size": (0, 0),
}


SIZES_TOO = {"absolute_positions": "position_biased_input", "relative_buckets": "position_buckets"}


def settings(shape: Shape) -> dict[str, Any]:
    return {
        "max_relative_positions": -1,
        "pos_att_type": ["p2c", "c2p"],
        "pooler_hidden_act": "gelu",
        "pooler_dropout": 0,
        **{key: wanted for key, (wanted, _) in WANTED.items() if wanted},
    }


def faults(config: Mapping[str, Any]) -> list[str]:
    found = [
        f"{key} must be {wanted}, got {config.get(key, default)!r:.60}"
        for key, (wanted, default) in WANTED.items()
        if config.get(key, default) != wanted
    ]
    kinds = config.get("pos_att_type") or []
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    if sorted(map(str, kinds)) != ["c2p", "p2c"]:
        found.append(f"pos_att_type must be c2p and p2c, got {kinds!r:.60}")
    if config.get("max_relative_positions", -1) not in (-1, config.get("max_position_embeddings")):
        found.append("max_relative_positions must be -1, or as many as max_position_embeddings")
    if config.get("embedding_size", config.get("hidden_size")) != config.get("hidden_size"):
        found.append("embedding_size must be hidden_size")
    buckets = config.get("position_buckets", 0)
    if not isinstance(buckets, int) or buckets < 2:
        found.append(f"position_buckets must be 2 or more, got {buckets!r:.60}")
    return found[:1]


FAMILY = Family(
    ("deberta-v2",),
    "deberta.",
    BERT_NAMES | NAMES,
    settings=settings,
    small=bert.SMALL
    | {"max_position_embeddings": 300, "position_buckets": 16, "relative_attention": True}
    | {"share_att_key": True, "norm_rel_ebd": "layer_norm", "pos_att_type": "p2c|c2p"}
    | {"position_biased_input": False, "type_vocab_size": 0, "layer_norm_eps": 1e-7},
    fixed={"type_vocab_size": 0, "relative": "disentangled"},
    sizes=SIZES | TYPES | SIZES_TOO,
    faults=faults,
    activation="gelu",
    sep_token_id=2,
)
