"""ELECTRA (Clark et al. 2020): BERT's backbone with an embedding that may be narrower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.weights.families import bert
from eat_lightning.weights.family import BERT_NAMES, SIZES, TWO_LAYERS, TYPES, Family


def parts(config: Mapping[str, Any]) -> dict[str, Any]:
    narrow, wide = config.get("embedding_size", 128), config.get("hidden_size", 256)
    return {"embedding_size": 0 if narrow == wide else narrow}


def settings(shape: Shape) -> dict[str, Any]:
    return bert.settings(shape) | {"embedding_size": shape.embedding_size or shape.hidden_size}


FAMILY = Family(
    ("electra",),
    "electra.",
    BERT_NAMES | TWO_LAYERS | {r"embeddings_project": "embedding.project"},
    parts,
    settings,
    small=bert.SMALL | {"embedding_size": 16},
    sizes=SIZES | TYPES,
    faults=bert.faults,
    activation="gelu",
)
