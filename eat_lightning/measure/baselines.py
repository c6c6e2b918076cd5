"""What settings are measured against: the same weights with everything off, ours and theirs.

Shapes: B examples, L longest length, D width, C classes.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import in_int8, is_int8, out_of_int8
from eat_lightning.model.packed import Batch


def in_dtype(encoder: AdaptiveEncoder, dtype: str) -> AdaptiveEncoder:
    """A copy with bf16 weights, or with int8 products, or the encoder itself. Not autocast, which
    would convert every weight for every example; strength and temperatures stay as they are."""
    if dtype == "fp32":
        return encoder
    if dtype == "int8":
        return in_int8(encoder)
    converted = copy.deepcopy(encoder)
    for weight in converted.parameters():
        weight.data = weight.data.to(torch.bfloat16)
    return converted


class HuggingFaceTwin(nn.Module):
    """The body as transformers' own model (sdpa, PyTorch's eager mode) with the last exit head."""

    def __init__(self, encoder: AdaptiveEncoder):
        super().__init__()
        whole = is_int8(encoder)
        encoder = out_of_int8(encoder) if whole else encoder
        self.body = empty_body(encoder)
        # Not strict, since transformers' position_ids are in no state dict of ours.
        missing = self.body.load_state_dict(body_weights(encoder), strict=False).missing_keys
        assert not missing, missing
        weight = encoder.embedding.word.weight
        self.body.to(weight.device, weight.dtype).eval()
        self.body = in_int8(self.body) if whole else self.body
        self.pad_token_id = encoder.shape.pad_token_id
        self.typed = encoder.embedding.token_type is not None
        self.head: Any = encoder.heads[str(encoder.shape.num_layers)]

    def ready(self, batch: Batch) -> dict[str, Tensor]:
        """As a tokenizer pads: ids, types and a mask of B x L."""
        lengths = batch.lengths_B.tolist()
        ids, mask = (list(x.split(lengths)) for x in (batch.ids_N, torch.ones_like(batch.ids_N)))
        padded = {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": pad_sequence(mask, batch_first=True),
        }
        if self.typed:
            types = list(batch.types_N.split(lengths))
            padded["token_type_ids"] = pad_sequence(types, batch_first=True)
        return padded

    def forward(self, padded: dict[str, Tensor]) -> Float[Tensor, "b c"]:
        device = self.head.classes.weight.device
        given = {name: column.to(device) for name, column in padded.items()}
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
    sizes: dict[str, Any] = {
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
        sizes |= {
            "max_position_embeddings": shape.max_positions,
            "relative_attention_num_buckets": shape.relative_buckets,
        }
        return MPNetModel(MPNetConfig(**sizes), add_pooling_layer=False)
    sizes |= {
        "max_position_embeddings": shape.max_length,
        "type_vocab_size": shape.type_vocab_size or 1,
        "attn_implementation": "sdpa",
    }
    return BertModel(BertConfig(**sizes), add_pooling_layer=False)


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
        nothing = torch.zeros(1, encoder.shape.hidden_size)
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
