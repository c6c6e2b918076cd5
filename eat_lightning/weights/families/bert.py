"""BERT (Devlin et al. 2019), and models with its backbone: MiniLM, TinyBERT, BGE, E5, GTE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.weights.family import BERT_NAMES, SIZES, TYPES, Family


def settings(shape: Shape) -> dict[str, Any]:
    return {"type_vocab_size": shape.type_vocab_size or 1}


def faults(config: Mapping[str, Any]) -> list[str]:
    """List errors in a config, also for families whose backbone differs from BERT only in names."""
    positions = config.get("position_embedding_type", "absolute")
    if positions == "absolute":
        return []
    return [f"position_embedding_type must be absolute, got {positions!r}"]


SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 42,
}
FAMILY = Family(
    ("bert",),
    "bert.",
    BERT_NAMES,
    settings=settings,
    small=SMALL,
    sizes=SIZES | TYPES,
    faults=faults,
)
