"""Sizes of released bodies, as their config.json say them, for a race of random weights."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "type_vocab_size": 2,
}
DEBERTA_V3 = BASE | {
    "model_type": "deberta-v2",
    "vocab_size": 128100,
    "layer_norm_eps": 1e-7,
    "position_buckets": 256,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
ROBERTA = BASE | {
    "model_type": "roberta",
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
ELECTRA = BASE | {"model_type": "electra", "vocab_size": 30522, "embedding_size": 768}
MODERNBERT: dict[str, Any] = {
    "model_type": "modernbert",
    "vocab_size": 50368,
    "hidden_size": 768,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
    "max_position_embeddings": 8192,
    "hidden_activation": "gelu",
    "norm_eps": 1e-5,
    "local_attention": 128,
    "pad_token_id": 50283,
}
SMALL = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
RELEASED: dict[str, dict[str, Any]] = {  # by the name of their yaml in configs/encoder
    "modernbert_base": MODERNBERT,
    "ettin_150m": MODERNBERT,
    "deberta_v3_small": DEBERTA_V3 | {"num_hidden_layers": 6},
    "deberta_v3_base": DEBERTA_V3,
    "roberta_base": ROBERTA,
    "xlm_roberta_base": ROBERTA | {"model_type": "xlm-roberta", "vocab_size": 250002},
    "electra_small": ELECTRA | SMALL | {"embedding_size": 128},
    "electra_base": ELECTRA,
    "albert_base": BASE
    | {
        "model_type": "albert",
        "vocab_size": 30000,
        "embedding_size": 128,
        "num_hidden_groups": 1,
        "hidden_act": "gelu_new",
    },
}


def released(body: str) -> str:
    """The name of one of these bodies; ValueError names the nearest."""
    if body in RELEASED:
        return body
    near = get_close_matches(body, RELEASED, n=1, cutoff=0.4)
    hint = f" (the nearest is {near[0]})" if near else ""
    raise ValueError(f"must be one of {', '.join(RELEASED)}, got {body!r:.60}{hint}")
