"""What a setting is measured against: the same weights with everything off, here and in transformers.

Shapes: B examples, L longest length, D width, C classes.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from eat_lightning.encoder import AdaptiveEncoder
from eat_lightning.packed import Batch


def with_slots(encoder: AdaptiveEncoder, **methods: Any) -> AdaptiveEncoder:
    """The same weights with other methods in some slots."""
    twin = copy.copy(encoder)
    twin._modules = dict(encoder._modules)  # a method may be a module itself
    for slot, method in methods.items():
        setattr(twin, slot, method)
    return twin


def in_dtype(encoder: AdaptiveEncoder, dtype: str) -> AdaptiveEncoder:
    """A copy with bf16 weights, or the encoder itself. Not autocast, which would convert every
    weight for every example; strength and temperatures stay as they are."""
    if dtype == "fp32":
        return encoder
    converted = copy.deepcopy(encoder)
    for weight in converted.parameters():
        weight.data = weight.data.to(torch.bfloat16)
    return converted


Padded = dict[str, Tensor]


def pad(batch: Batch) -> Padded:
    """As a tokenizer pads: ids, types and a mask of B x L."""
    lengths = batch.lengths_B.tolist()
    ids, types = batch.ids_N.split(lengths), batch.types_N.split(lengths)
    ones = [torch.ones_like(example) for example in ids]
    columns = {"input_ids": ids, "token_type_ids": types, "attention_mask": ones}
    return {name: pad_sequence(list(c), batch_first=True) for name, c in columns.items()}


class HuggingFaceTwin(nn.Module):
    """The body as transformers' own model (sdpa, PyTorch's eager mode) with the last exit head."""

    def __init__(self, encoder: AdaptiveEncoder):
        super().__init__()
        from transformers.modeling_utils import no_init_weights

        with no_init_weights():
            self.body = empty_body(encoder)
        self.body.load_state_dict(body_weights(encoder), strict=False)
        self.body.to(encoder.strength.device).eval()
        self.typed = encoder.relative is None
        self.head = encoder.heads[str(encoder.shape.num_layers)]

    def forward(self, padded: Padded) -> Float[Tensor, "b c"]:
        given = padded if self.typed else {k: v for k, v in padded.items() if k[:5] != "token"}
        device = next(self.parameters()).device
        given = {name: column.to(device) for name, column in given.items()}
        x_BLD = self.body(**given).last_hidden_state
        pooled_BD = x_BLD[:, 0]
        if self.head.pool == "mean":
            real_BL1 = given["attention_mask"][..., None].to(x_BLD.dtype)
            pooled_BD = (x_BLD * real_BL1).sum(1) / real_BL1.sum(1)
        if self.head.dense is not None:
            pooled_BD = self.head.act(self.head.dense(pooled_BD))
        return self.head.classes(pooled_BD) / self.head.temperature


def empty_body(encoder: AdaptiveEncoder) -> nn.Module:
    """MPNet where there is a relative bias; else BERT, of which DistilBERT and RoBERTa are cases
    (no token types; positions that start later, whose first rows are then left out)."""
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

    shape = encoder.shape
    sizes = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "intermediate_size": shape.intermediate_size,
        "hidden_act": shape.hidden_act,
        "layer_norm_eps": shape.eps,
        "pad_token_id": shape.pad_token_id,
    }
    if shape.relative_buckets:
        buckets = {"relative_attention_num_buckets": shape.relative_buckets}
        config = MPNetConfig(**sizes, **buckets, max_position_embeddings=shape.max_positions)
        return MPNetModel(config, add_pooling_layer=False)
    config = BertConfig(
        **sizes,
        max_position_embeddings=shape.max_length,
        type_vocab_size=max(shape.type_vocab_size, 2),
        attn_implementation="sdpa",
    )
    return BertModel(config, add_pooling_layer=False)


def body_weights(encoder: AdaptiveEncoder) -> dict[str, Tensor]:
    """Our weights under transformers' names (the way back of `checkpoint`)."""
    mpnet = encoder.relative is not None
    own = encoder.state_dict()
    offset = 0 if mpnet else encoder.shape.position_offset
    weights = {
        "embeddings.word_embeddings.weight": own["embedding.word.weight"],
        "embeddings.position_embeddings.weight": own["embedding.position.weight"][offset:],
        **named(own, "embedding.norm", "embeddings.LayerNorm"),
    }
    if mpnet:
        weights["encoder.relative_attention_bias.weight"] = own["relative.weight"]
    elif "embedding.token_type.weight" in own:
        weights["embeddings.token_type_embeddings.weight"] = own["embedding.token_type.weight"]
    else:
        nothing = torch.zeros(2, encoder.shape.hidden_size)
        weights["embeddings.token_type_embeddings.weight"] = nothing
    for i in range(encoder.shape.num_layers):
        weights |= layer_weights(own, f"layers.{i}.", f"encoder.layer.{i}.", mpnet)
    return weights


def layer_weights(own: dict[str, Tensor], ours: str, theirs: str, mpnet: bool) -> dict[str, Tensor]:
    attention = theirs + ("attention.attn." if mpnet else "attention.self.")
    norm = "attention.LayerNorm" if mpnet else "attention.output.LayerNorm"
    weights = {
        **named(
            own, ours + "out", theirs + ("attention.attn.o" if mpnet else "attention.output.dense")
        ),
        **named(own, ours + "attention_norm", theirs + norm),
        **named(own, ours + "up", theirs + "intermediate.dense"),
        **named(own, ours + "down", theirs + "output.dense"),
        **named(own, ours + "output_norm", theirs + "output.LayerNorm"),
    }
    parts = ("q", "k", "v") if mpnet else ("query", "key", "value")
    for end in ("weight", "bias"):
        thirds = own[f"{ours}qkv.{end}"].chunk(3)
        weights |= {f"{attention}{part}.{end}": w for part, w in zip(parts, thirds, strict=True)}
    return weights


def named(own: dict[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    return {f"{theirs}.{end}": own[f"{ours}.{end}"] for end in ("weight", "bias")}
