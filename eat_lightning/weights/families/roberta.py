"""RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020) and CamemBERT: BERT's backbone, with
positions that start after the padding id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.weights.families import bert
from eat_lightning.weights.family import BERT_NAMES, TWO_LAYERS, Family


def parts(config: Mapping[str, Any]) -> dict[str, Any]:
    padding = config.get("pad_token_id")
    offset = 2 if padding is None else padding + 1
    return {"type_vocab_size": config.get("type_vocab_size", 1), "position_offset": offset}


def settings(shape: Shape) -> dict[str, Any]:
    return {"type_vocab_size": shape.type_vocab_size or 1}


SMALL = bert.SMALL | {"pad_token_id": 1, "type_vocab_size": 1}
FAMILY = Family(
    ("roberta", "xlm-roberta", "camembert"),
    "roberta.",
    BERT_NAMES | TWO_LAYERS,
    parts,
    settings,
    small=SMALL,
    faults=bert.faults,
    sep_token_id=2,
)
