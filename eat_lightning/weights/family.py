"""A family: one architecture of transformers, and which sizes, parts and names of ours it has.

Each lies in a file of `weights/families/`, and is found by looking; `register` takes one of
somebody else's. A family is read in both directions: a backbone becomes an encoder, and an encoder
a backbone that transformers opens.
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
    """Tell how one architecture names its sizes and weights, and the head that it fine-tunes with.

    model_types: `model_type` of the config.json that it reads; it writes the first. prefix: of the
    backbone's weights within a classifier. names: modules, as patterns of a whole name -> ours; q,
    k and v of a layer may be three modules (`query`, `key`, `value`, or by one letter) or `qkv`.
    sizes: fields of `Shape` -> keys of config.json, both ways. fixed: fields of `Shape` as they are
    where a config.json does not say. parts: fields that follow from what it says. settings: the
    other keys of a config.json, from a `Shape`. faults: why a config.json asks for what we have
    not, a line each. activation, norm: of its head's dense layer,
    and whether one norms what that gives. head: keys of config.json that say so. sep_token_id:
    where no tokenizer says it. small: a config.json in small, of which the tests make a model.
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
        """Fields of `Shape`, not yet checked; one that a config.json leaves out has its default."""
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
    """Make a family known by each of its model types."""
    FAMILIES.update(dict.fromkeys(family.model_types, family))
    return family
