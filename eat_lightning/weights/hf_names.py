"""How Hugging Face's BERT, DistilBERT, MPNet and RoBERTa name sizes and weights, and we ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from eat_lightning.model.layer import Shape

BERT_NAMES = {
    r"embeddings\.word_embeddings": "embedding.word",
    r"embeddings\.position_embeddings": "embedding.position",
    r"embeddings\.token_type_embeddings": "embedding.token_type",
    r"embeddings\.LayerNorm": "embedding.norm",
    r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)": r"layers.\1.\2",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense": r"layers.\1.out",
    r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm": r"layers.\1.attention_norm",
    r"encoder\.layer\.(\d+)\.intermediate\.dense": r"layers.\1.up",
    r"encoder\.layer\.(\d+)\.output\.dense": r"layers.\1.down",
    r"encoder\.layer\.(\d+)\.output\.LayerNorm": r"layers.\1.output_norm",
    r"pooler\.dense": "dense",
    r"classifier": "classes",
}
MPNET_NAMES = BERT_NAMES | {
    r"encoder\.layer\.(\d+)\.attention\.attn\.(q|k|v)": r"layers.\1.\2",
    r"encoder\.layer\.(\d+)\.attention\.attn\.o": r"layers.\1.out",
    r"encoder\.layer\.(\d+)\.attention\.LayerNorm": r"layers.\1.attention_norm",
    r"encoder\.relative_attention_bias": "relative",
    r"classifier\.dense": "dense",
    r"classifier\.out_proj": "classes",
}
DISTILBERT_NAMES = BERT_NAMES | {
    r"transformer\.layer\.(\d+)\.attention\.(q|k|v)_lin": r"layers.\1.\2",
    r"transformer\.layer\.(\d+)\.attention\.out_lin": r"layers.\1.out",
    r"transformer\.layer\.(\d+)\.sa_layer_norm": r"layers.\1.attention_norm",
    r"transformer\.layer\.(\d+)\.ffn\.lin1": r"layers.\1.up",
    r"transformer\.layer\.(\d+)\.ffn\.lin2": r"layers.\1.down",
    r"transformer\.layer\.(\d+)\.output_layer_norm": r"layers.\1.output_norm",
    r"pre_classifier": "dense",
}


@dataclass(frozen=True)
class Family:
    """How one model type names its weights, and the head it fine-tunes with."""

    prefix: str
    names: dict[str, str]
    activation: str = "tanh"
    position_offset: int = 0


FAMILIES = {
    "bert": Family("bert.", BERT_NAMES),
    "distilbert": Family("distilbert.", DISTILBERT_NAMES, activation="relu"),
    "mpnet": Family("mpnet.", MPNET_NAMES, position_offset=2),
    "roberta": Family("roberta.", MPNET_NAMES, position_offset=2),
}
ALIASES = {  # Hugging Face's names -> ours, in the order they are tried
    "hidden_size": ("hidden_size", "dim"),
    "num_layers": ("num_hidden_layers", "n_layers"),
    "num_heads": ("num_attention_heads", "n_heads"),
    "intermediate_size": ("intermediate_size", "hidden_dim"),
    "max_positions": ("max_position_embeddings",),
    "dropout": ("hidden_dropout_prob", "dropout"),
    "attention_dropout": ("attention_probs_dropout_prob", "attention_dropout"),
    "hidden_act": ("hidden_act", "activation"),
    "vocab_size": ("vocab_size",),
}


def sizes_of(config: dict[str, Any], sep_token_id: int) -> dict[str, Any]:
    """The fields of `Shape` as a config.json gives them, Hugging Face's or a run's, not yet
    checked."""
    if config["model_type"] == "eat":
        return {f.name: config[f.name] for f in fields(Shape) if f.name in config}
    family = FAMILIES[config["model_type"]]
    found = {
        ours: next(config[name] for name in names if name in config)
        for ours, names in ALIASES.items()
        if any(name in config for name in names)
    }
    typed = config["model_type"] in ("bert", "roberta")
    mpnet = config["model_type"] == "mpnet"
    return found | {
        "type_vocab_size": config.get("type_vocab_size", 2) if typed else 0,
        "eps": config.get("layer_norm_eps", 1e-12),
        "position_offset": family.position_offset,
        "relative_buckets": config.get("relative_attention_num_buckets", 32) if mpnet else 0,
        "sep_token_id": sep_token_id,
        "pad_token_id": config.get("pad_token_id") or 0,
    }


def rename(weights: dict[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Our names for a body's weights; a pooler or classifier becomes "dense.*" and "classes.*"."""
    renamed = {}
    # Longest pattern first, so that classifier.dense is not taken for classifier.
    patterns = sorted(family.names.items(), key=lambda item: -len(item[0]))
    for name, weight in weights.items():
        name = name.removeprefix(family.prefix)
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        for pattern, ours in patterns:
            body, count = re.subn(rf"^{pattern}(?=\.(weight|bias)$)", ours, name)
            if count:
                renamed[body] = weight
                break
    return renamed


def fuse(weights: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """q, k and v of each layer as one matrix."""
    fused = dict(weights)
    for i in range(num_layers):
        long = f"layers.{i}.query.weight" in weights
        names = ("query", "key", "value") if long else ("q", "k", "v")
        for end in ("weight", "bias"):
            parts = [fused.pop(f"layers.{i}.{name}.{end}") for name in names]
            fused[f"layers.{i}.qkv.{end}"] = torch.cat(parts)
    return fused


def tuned_weights(weights: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """A run's body, and its last head under the names of a pretrained one: fine-tuned weights, from
    which pruning and distilling often start (PoWER-BERT, Goyal et al. 2020; LTP, Kim et al. 2022).

    Other heads, temperatures and the pruning strength belong to the training that made them.
    """
    own = {name.removeprefix("encoder."): weight for name, weight in weights.items()}
    last, kept = f"heads.{num_layers}.", {}
    for name, weight in own.items():
        if name.startswith(last) and name.endswith((".weight", ".bias")):
            kept[name.removeprefix(last)] = weight
        elif name != "strength" and not name.startswith("heads."):
            kept[name] = weight
    return kept
