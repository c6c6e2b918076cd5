"""The adaptive encoder told again the slow way: masked, one example at a time, nothing dropped.

A removed token stays in its row and is hidden from all; every layer is run for every example, and
who leaves is found afterwards. Only weights are taken from the encoder.

Shapes: T tokens of one example, D width, H heads, C classes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.specification import Specification


def reference(encoder: AdaptiveEncoder, ids_T: Tensor, types_T: Tensor) -> dict[str, Any]:
    """Answer, depth and tokens entering each layer of one example."""
    attention, reduction, exit = (
        Specification.of(slot, getattr(encoder, slot)).as_dict()
        for slot in ("attention", "reduction", "exit")
    )
    embedding = encoder.embedding
    place_T = torch.arange(len(ids_T))
    x_TD = embedding.word(ids_T) + embedding.position(place_T) + embedding.token_type(types_T)
    x_TD, alive_T = embedding.norm(x_TD), torch.ones(len(ids_T), dtype=torch.bool)
    guesses, tokens = {}, []
    for number, layer in enumerate(encoder.layers, start=1):
        tokens.append(int(alive_T.sum()))
        x_TD, weights_HTT = run_layer(layer, x_TD, seen(attention, alive_T))
        if str(number) in encoder.heads:
            head = encoder.heads[str(number)]
            pooled_D = x_TD[0] if head.pool == "cls" else x_TD[alive_T].mean(0)
            pooled_D = pooled_D if head.dense is None else head.act(head.dense(pooled_D))
            guesses[number] = head.classes(pooled_D) / head.temperature
        if number in reduction.get("layers", ()) and number < len(encoder.layers):
            sep_T = ids_T == encoder.shape.sep_token_id
            score_T = scores(reduction, x_TD, weights_HTT, alive_T, sep_T)
            alive_T = keep(score_T, alive_T, reduction["ratio"])
    depth = leaves_at(exit, guesses, len(encoder.layers))
    tokens = [n if number <= depth else 0 for number, n in enumerate(tokens, start=1)]
    return {"logits": guesses[depth], "depth": depth, "tokens": tokens}


def run_layer(layer: Any, x_TD: Tensor, seen_TT: Tensor) -> tuple[Tensor, Tensor]:
    heads = layer.qkv.out_features // 3 // layer.head_width
    q, k, v = (
        part.view(len(x_TD), heads, -1).transpose(0, 1) for part in layer.qkv(x_TD).chunk(3, dim=-1)
    )
    scores_HTT = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    weights_HTT = scores_HTT.masked_fill(~seen_TT, -1e9).softmax(-1)
    mixed_TD = (weights_HTT @ v).transpose(0, 1).flatten(1)
    x_TD = layer.attention_norm(x_TD + layer.out(mixed_TD))
    return layer.output_norm(x_TD + layer.down(F.gelu(layer.up(x_TD)))), weights_HTT


def seen(attention: dict[str, Any], alive_T: Tensor) -> Tensor:
    seen_TT = alive_T[None, :].expand(len(alive_T), -1).clone()
    if attention["kind"] == "longformer":
        rank_T = alive_T.cumsum(0) - 1  # the window counts the tokens that are left
        near_TT = (rank_T[:, None] - rank_T[None, :]).abs() <= attention["window"] // 2
        near_TT[0, :] = near_TT[:, 0] = True
        seen_TT &= near_TT
    return seen_TT


def scores(
    reduction: dict[str, Any], x_TD: Tensor, weights_HTT: Tensor, alive_T: Tensor, sep_T: Tensor
) -> Tensor:
    if reduction["kind"] == "norm_topk":
        return x_TD.norm(dim=-1)
    if reduction["kind"] == "received_topk":
        return weights_HTT[:, alive_T].sum(1).mean(0)
    score_T = weights_HTT[:, 0].mean(0)
    return score_T.masked_fill(sep_T, math.inf) if reduction["protect_sep"] else score_T


def keep(score_T: Tensor, alive_T: Tensor, ratio: float) -> Tensor:
    """[CLS] and the ceil((1 - p)(t - 1)) highest others, ties to the earlier one."""
    others = [i for i in range(1, len(alive_T)) if alive_T[i]]
    wanted = math.ceil((1 - Fraction(str(ratio))) * len(others))
    others.sort(key=lambda i: (-float(score_T[i]), i))
    kept_T = torch.zeros_like(alive_T)
    kept_T[[0, *others[:wanted]]] = True
    return kept_T


def leaves_at(exit: dict[str, Any], guesses: dict[int, Tensor], last: int) -> int:
    looked: list[Tensor] = []
    for layer in sorted(exit.get("layers", ())):
        looked.append(guesses[layer])
        if exit["kind"] == "confidence":
            tau = exit["tau"][len(looked) - 1] if isinstance(exit["tau"], list) else exit["tau"]
            if float(looked[-1].softmax(-1).max()) >= tau:
                return layer
        answers = [int(guess.argmax()) for guess in looked[-exit.get("patience", 0) - 1 :]]
        enough = len(answers) == exit.get("patience", 0) + 1
        if exit["kind"] == "patience" and enough and len(set(answers)) == 1:
            return layer
    return last
