"""A family: an architecture of transformers, mapped to the encoder's sizes, parts and names.

Each is a file in `weights/families/`, and `register` adds your own. The mapping works in both
directions: a backbone becomes an encoder, and an encoder a backbone that transformers opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from eat_lightning.model.shape import Shape

SIZES = {  # fields of Shape -> the names that most config.json give them
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "hidden_act": "hidden_act",
    "eps": "layer_norm_eps",
    "pad_token_id": "pad_token_id",
}
POOLINGS = "classifier_pooling"  # a key of config.json, where a family's head may pool otherwise
BERT_NAMES = {  # modules, as patterns of a whole name -> ours
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
TYPES = {"type_vocab_size": "type_vocab_size"}  # of backbones whose embedding may tell texts apart
TWO_LAYERS = {r"classifier\.dense": "dense", r"classifier\.out_proj": "classes"}  # of a head


@dataclass(frozen=True)
class Family:
    """Mapping of an architecture's sizes, weight names and classification head.

    Args:
        model_types: values of `model_type` in config.json that it reads; it writes the first.
        prefix: of the backbone's weights within a classifier.
        names: patterns of module names -> the encoder's names. q, k and v of a layer may be three
            modules (`query`, `key`, `value`, or one letter each) or `qkv`.
        sizes: fields of `Shape` -> keys of config.json, both ways.
        fixed: fields of `Shape` where config.json does not set them.
        parts: fields that are computed from config.json.
        settings: the other keys of config.json, from a `Shape`.
        faults: returns the unsupported settings of a config.json, a line each.
        activation, norm: activation of its head's dense layer, and whether a norm follows.
        head: keys of config.json for these two.
        sep_token_id: the default if no tokenizer sets it.
        small: a small config.json from which tests build a model.
    """

    model_types: tuple[str, ...]
    prefix: str
    names: Mapping[str, str]
    parts: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda config: {}
    settings: Callable[[Shape], dict[str, Any]] = lambda shape: {}
    small: Mapping[str, Any] = field(kw_only=True)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(SIZES))
    faults: Callable[[Mapping[str, Any]], list[str]] = lambda config: []
    activation: str = "tanh"
    norm: bool = False
    sep_token_id: int = 102

    @property
    def name(self) -> str:
        return self.model_types[0]

    def shape_of(self, config: Mapping[str, Any], sep_token_id: int) -> dict[str, Any]:
        """Return the fields of `Shape`, not yet checked; fields missing from config.json have
        defaults.
        """
        read = {ours: config[key] for ours, key in self.sizes.items() if key in config}
        read["pad_token_id"] = read.get("pad_token_id") or 0
        read = {**self.fixed, **read}
        return read | {"sep_token_id": sep_token_id, "family": self.name} | self.parts(config)

    def config_of(self, shape: Shape) -> dict[str, Any]:
        """Return the config.json of a shape."""
        sizes = {key: getattr(shape, ours) for ours, key in self.sizes.items()}
        return {"model_type": self.name} | sizes | self.settings(shape)


FAMILIES: dict[str, Family] = {}  # by model_type; filled by `weights.families`


def register(family: Family) -> Family:
    """Register a family under each of its model types."""
    FAMILIES.update(dict.fromkeys(family.model_types, family))
    return family
