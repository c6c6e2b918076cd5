"""The same weights as transformers' own model, which a setting's time is compared with.

Shapes: B examples, L longest length, D width, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import in_int8, is_int8, out_of_int8
from eat_lightning.model.packed import Batch
from eat_lightning.weights.hf_names import FAMILIES, rename


class HuggingFaceTwin(nn.Module):
    """The body as transformers' own model (sdpa, PyTorch's eager mode) with the last exit head."""

    def __init__(self, encoder: AdaptiveEncoder):
        super().__init__()
        whole = is_int8(encoder)
        encoder = out_of_int8(encoder) if whole else encoder
        self.body = empty_body(encoder)
        # Not strict, since transformers' position_ids are in no state dict of ours.
        missing = self.body.load_state_dict(body_weights(encoder, self.body), strict=False)
        assert not missing.missing_keys, missing.missing_keys
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
    (no token types; positions that start later, whose first rows are then left out). Theirs has
    heads that fill the width, and layers of one width: what a narrowed encoder has not is there,
    and gives nothing."""
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

    shape = encoder.shape
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.hidden_size // shape.width_of_head,
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


def body_weights(encoder: AdaptiveEncoder, body: nn.Module) -> dict[str, Tensor]:
    """Our weights under the names of transformers' body: the way back of `weights.hf_names`."""
    mpnet = encoder.relative is not None
    own, width = dict(encoder.state_dict()), encoder.shape.hidden_size
    for i in range(encoder.shape.num_layers):
        for end in ("weight", "bias"):
            thirds = [filled(x, 0, width) for x in own[f"layers.{i}.qkv.{end}"].chunk(3)]
            for part, third in zip(
                ("q", "k", "v") if mpnet else ("query", "key", "value"), thirds, strict=True
            ):
                own[f"layers.{i}.{part}.{end}"] = third
        own[f"layers.{i}.out.weight"] = filled(own[f"layers.{i}.out.weight"], 1, width)
        for name, axis in (("up.weight", 0), ("up.bias", 0), ("down.weight", 1)):
            inner = own[f"layers.{i}.{name}"]
            own[f"layers.{i}.{name}"] = filled(inner, axis, encoder.shape.intermediate_size)
    if not mpnet:  # theirs begin at position 0, and always have token types
        first = encoder.shape.position_offset
        own["embedding.position.weight"] = own["embedding.position.weight"][first:]
        own.setdefault("embedding.token_type.weight", torch.zeros(1, encoder.shape.hidden_size))
    theirs: Any = {name: name for name in body.state_dict()}
    named = rename(theirs, FAMILIES["mpnet" if mpnet else "bert"])
    return {str(theirs): own[ours] for ours, theirs in named.items()}


def filled(weight: Tensor, axis: int, size: int) -> Tensor:
    """With zeros behind, up to a size along an axis."""
    missing = list(weight.shape)
    missing[axis] = size - weight.shape[axis]
    return torch.cat([weight, weight.new_zeros(missing)], axis) if missing[axis] else weight
