"""ALBERT (Lan et al. 2020): all layers share weights, and the embedding is narrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.weights.families import bert
from eat_lightning.weights.family import BERT_NAMES, SIZES, TYPES, Family

GROUP = r"encoder\.albert_layer_groups\.(\d+)\.albert_layers\.0"
NAMES = {
    r"encoder\.embedding_hidden_mapping_in": "embedding.project",
    rf"{GROUP}\.attention\.(query|key|value)": r"layers.\1.\2",
    rf"{GROUP}\.attention\.dense": r"layers.\1.out",
    rf"{GROUP}\.attention\.LayerNorm": r"layers.\1.attention_norm",
    rf"{GROUP}\.ffn": r"layers.\1.up",
    rf"{GROUP}\.ffn_output": r"layers.\1.down",
    rf"{GROUP}\.full_layer_layer_norm": r"layers.\1.output_norm",
    r"pooler": "dense",
}


SIZES_TOO = {"embedding_size": "embedding_size", "layer_groups": "num_hidden_groups"}


def settings(shape: Shape) -> dict[str, Any]:
    return bert.settings(shape) | {"classifier_dropout_prob": shape.dropout}


def faults(config: Mapping[str, Any]) -> list[str]:
    inner = config.get("inner_group_num", 1)
    return bert.faults(config) + (
        [] if inner == 1 else [f"inner_group_num must be 1, got {inner!r}"]
    )


FAMILY = Family(
    ("albert",),
    "albert.",
    BERT_NAMES | NAMES,
    settings=settings,
    small=bert.SMALL | {"embedding_size": 16, "hidden_act": "gelu_new"},
    fixed={"embedding_size": 128, "layer_groups": 1},
    sizes=SIZES | TYPES | SIZES_TOO,
    faults=faults,
    sep_token_id=3,
)
