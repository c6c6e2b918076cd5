"""Reformer: tokens see those that a hash puts into their bucket."""

import torch
from helpers.attentions import WIDTH, Example, bound, drawn, product

from eat_lightning.methods.attention.reformer import Reformer


def reference(pattern: Reformer, one: Example) -> torch.Tensor:
    """Every pair of every round: same bucket, and chunks that are one or the one before."""
    num = len(one.position_T)
    half = -(-num // (2 * pattern.bucket))
    own = torch.eye(num, dtype=torch.bool)
    keys_HTK = one.q_HTK / one.q_HTK.norm(dim=-1, keepdim=True)
    mixed, sums = [], []
    for directions in pattern.directions_TKC[:, :, :half]:
        seen_HTT = torch.stack([seen(q_TK @ directions, pattern.bucket) for q_TK in one.q_HTK])
        scores = one.q_HTK @ keys_HTK.transpose(1, 2) / WIDTH**0.5 + one.weight_T
        scores = scores.masked_fill(own, -5e4).masked_fill(~seen_HTT, -torch.inf)
        mixed.append(scores.softmax(-1) @ one.v_HTK)
        sums.append(scores.logsumexp(-1))
    weights = torch.stack(sums).softmax(0)[..., None]
    return (torch.stack(mixed) * weights).sum(0)


def seen(turned_TC: torch.Tensor, bucket: int) -> torch.Tensor:
    bucket_T = torch.cat([turned_TC, -turned_TC], 1).argmax(1).tolist()
    order = sorted(range(len(bucket_T)), key=lambda i: (bucket_T[i], i))
    chunk = {token: rank // bucket for rank, token in enumerate(order)}
    tokens = range(len(bucket_T))
    rows = [
        [bucket_T[i] == bucket_T[j] and 0 <= chunk[i] - chunk[j] <= 1 for j in tokens]
        for i in tokens
    ]
    return torch.tensor(rows)


def test_one_bucket_of_all_is_attention_to_the_others():
    """Where a chunk holds all and the hash says nothing: softmax attention with keys of length 1,
    without oneself."""
    pattern = bound("reformer", bucket=16, rounds=1)
    pattern.directions_TKC.zero_()  # all scores tie, so the first bucket is everybody's
    qkv_N3HK, *_ = drawn([9])
    q, _, v = qkv_N3HK.permute(1, 2, 0, 3)
    scores = q @ (q / q.norm(dim=-1, keepdim=True)).transpose(1, 2) / WIDTH**0.5
    wanted = scores.masked_fill(torch.eye(9, dtype=torch.bool), -torch.inf).softmax(-1) @ v
    found = product(pattern, [9], weight_N=None)
    torch.testing.assert_close(found, wanted.transpose(0, 1))


def test_who_is_alone_sees_itself():
    qkv_N3HK, *_ = drawn([1])
    torch.testing.assert_close(product(bound("reformer"), [1]), qkv_N3HK[:, 2])
