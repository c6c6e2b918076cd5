"""Products of attentions on packed rows, each example against a dense reference of every pair.

Shapes: T tokens of an example, H heads, K head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.models import has_mask, kinds, method, ragged, tiny, tiny_shape
from torch import Tensor, nn

from eat_lightning.methods.attention.cosformer import CosFormer
from eat_lightning.methods.attention.linformer import Linformer
from eat_lightning.methods.attention.nystrom import Nystrom
from eat_lightning.methods.attention.performer import Performer, orthogonal
from eat_lightning.methods.attention.reformer import Reformer
from eat_lightning.model.contracts import Attention, Where, overrides
from eat_lightning.model.packed import Layout

SHAPE = tiny_shape(max_positions=280)
HEADS, WIDTH = SHAPE.num_heads, SHAPE.hidden_size // SHAPE.num_heads


@dataclass
class Example:
    """What a dense reference is given: all rows of one example, `layer` from 1."""

    q_HTK: Tensor
    k_HTK: Tensor
    v_HTK: Tensor
    position_T: Tensor
    weight_T: Tensor
    layer: int = 2

    def softmax(self, scores: Tensor) -> Tensor:
        """Over keys, each by its weight, of scores that are to be divided by sqrt(K)."""
        return (scores / WIDTH**0.5 + self.weight_T).softmax(-1)


def bound(kind: str, **changes: Any) -> Any:
    """A method as an encoder makes it, whatever it learns away from where it starts."""
    made = method("attention", kind, **changes)
    if overrides(made, Attention.bind):
        torch.manual_seed(3)
        made.bind(SHAPE, [6], 2)
        for weight in made.parameters():
            weight.data += 0.2 * torch.randn_like(weight)
    return made


def drawn(lengths: list[int]) -> tuple[Tensor, Layout, Tensor, Tensor]:
    """Rows, layout, places in the original text of which every other token was dropped, and log
    weights of keys, the first of them two tokens."""
    layout = Layout(torch.tensor(lengths), torch.device("cpu"))
    generator = torch.Generator().manual_seed(sum(lengths))
    qkv_N3HK = torch.randn(layout.num_tokens, 3, HEADS, WIDTH, generator=generator)
    weight_N = torch.where(layout.index_N == 0, 2.0, 1.0).log()
    return qkv_N3HK, layout, 2 * layout.index_N, weight_N


def examples(qkv_N3HK: Tensor, layout: Layout, position_N: Tensor, weight_N: Tensor) -> Any:
    lengths = layout.lengths_B.tolist()
    parts = (x.split(lengths) for x in (qkv_N3HK, position_N, weight_N))
    for qkv_T, position_T, weight_T in zip(*parts, strict=True):
        yield Example(*qkv_T.permute(1, 2, 0, 3), position_T, weight_T)


def product(pattern: Any, lengths: list[int], **rows: Any) -> Tensor | None:
    """Of the method on packed rows; None where it leaves that to the encoder."""
    qkv_N3HK, layout, position_N, weight_N = drawn(lengths)
    kernel = pattern.kernel(layout, 2)
    given = {"position_N": position_N, "weight_N": weight_N}
    wanted = {f"{name}_N": given[f"{name}_N"] for name in pattern.wants}
    return None if kernel is None else kernel(qkv_N3HK, layout, 0.0, **wanted | rows)


def in_cosformer(pattern: CosFormer, one: Example) -> torch.Tensor:
    """Equation 10, every pair on its own."""
    place_T = one.position_T
    apart_TT = place_T[:, None] - place_T[None]
    near_TT = torch.cos(math.pi / 2 * apart_TT / (place_T.max() + 1))
    weights_HTT = one.q_HTK.relu() @ one.k_HTK.relu().transpose(1, 2) * near_TT
    weights_HTT = weights_HTT * one.weight_T.exp()
    return weights_HTT @ one.v_HTK / weights_HTT.sum(-1, keepdim=True).clamp(min=1e-6)


def in_linformer(pattern: Linformer, one: Example) -> torch.Tensor:
    """Equation 7 with the columns of the tokens that are there."""
    for_keys, for_values = pattern.projection[one.layer - 1][..., one.position_T]
    sizes_T = one.weight_T.exp()
    k_HRK, v_HRK = (for_keys * sizes_T) @ one.k_HTK, (for_values * sizes_T) @ one.v_HTK
    return (one.q_HTK @ k_HRK.transpose(1, 2) / WIDTH**0.5).softmax(-1) @ v_HRK


def test_one_sum_of_all_is_their_mean():
    pattern = Linformer(rank=1)
    pattern.projection = nn.Parameter(torch.full((2, 2, 1, 280), 1 / 40))
    found = product(pattern, [40], weight_N=None)
    (one,) = examples(*drawn([40]))
    torch.testing.assert_close(found, one.v_HTK.mean(1).expand(40, -1, -1))


def in_nystrom(pattern: Nystrom, one: Example) -> torch.Tensor:
    """Equation 13, part by part; softmax attention where there are no more tokens than parts."""
    num, m = len(one.position_T), pattern.landmarks
    if num <= m:
        mixed = one.softmax(one.q_HTK @ one.k_HTK.transpose(1, 2)) @ one.v_HTK
    else:
        parts = [[i for i in range(num) if i * m // num == part] for part in range(m)]
        q_HMK, k_HMK = (means(x, parts, one.weight_T.exp()) for x in (one.q_HTK, one.k_HTK))
        inverse = by_steps((q_HMK @ k_HMK.transpose(1, 2) / WIDTH**0.5).softmax(-1))
        from_keys = one.softmax(q_HMK @ one.k_HTK.transpose(1, 2)) @ one.v_HTK
        mixed = (one.q_HTK @ k_HMK.transpose(1, 2) / WIDTH**0.5).softmax(-1) @ inverse @ from_keys
    half_window = pattern.conv // 2
    padded_HTK = F.pad(one.v_HTK, (0, 0, half_window, half_window))
    weight_HC = pattern.conv_weight[one.layer - 1].flatten(1)
    shifted = [padded_HTK[:, c : c + num] * w[:, None, None] for c, w in enumerate(weight_HC.T)]
    return mixed + sum(shifted)


def means(x_HTK: torch.Tensor, parts: list[list[int]], size_T: torch.Tensor) -> torch.Tensor:
    weighed = [(x_HTK[:, p] * size_T[p, None]).sum(1) / size_T[p].sum() for p in parts]
    return torch.stack(weighed, 1)


def by_steps(a: torch.Tensor) -> torch.Tensor:
    one = torch.eye(a.shape[-1])
    found = []
    for a_MM in a:
        z = a_MM.T / (a_MM.sum(1).max() * a_MM.sum(0).max())
        for _ in range(6):
            z = z / 4 @ (13 * one - a_MM @ z @ (15 * one - a_MM @ z @ (7 * one - a_MM @ z)))
        found.append(z)
    return torch.stack(found)


def test_one_landmark_gives_all_queries_the_mean_query_s_answer():
    pattern = bound("nystrom", landmarks=1, conv=0)
    (one,) = examples(*drawn([40]))
    q_H1K = (one.q_HTK * one.weight_T.exp()[:, None]).sum(
        1, keepdim=True
    ) / one.weight_T.exp().sum()
    wanted = one.softmax(q_H1K @ one.k_HTK.transpose(1, 2)) @ one.v_HTK
    found = product(pattern, [40])
    torch.testing.assert_close(found, wanted.transpose(0, 1).expand_as(found))


def in_performer(pattern: Performer, one: Example) -> torch.Tensor:
    """Every pair's product of features, divided by their sum over the keys."""
    q_HTF, k_HTF = logs(pattern, one.q_HTK), logs(pattern, one.k_HTK)
    q_HTF = torch.exp(q_HTF - q_HTF.max(-1, keepdim=True).values) + 1e-4
    largest_H11 = k_HTF.flatten(1).max(1).values[:, None, None]
    k_HTF = torch.exp(k_HTF - largest_H11) + 1e-4
    weights_HTT = q_HTF @ k_HTF.transpose(1, 2) * one.weight_T.exp()
    return weights_HTT / weights_HTT.sum(-1, keepdim=True) @ one.v_HTK


def logs(pattern: Performer, x_HTK: torch.Tensor) -> torch.Tensor:
    x_HTK = x_HTK / WIDTH**0.25
    return x_HTK @ pattern.directions_FK.T - (x_HTK**2).sum(-1, keepdim=True) / 2


def test_many_features_come_near_softmax_attention():
    qkv_N3HK, *rows = drawn([40])
    (one,) = examples(qkv_N3HK / 2, *rows)
    exact = (one.softmax(one.q_HTK @ one.k_HTK.transpose(1, 2)) @ one.v_HTK).transpose(0, 1)
    few, many = ((by(features, qkv_N3HK / 2, *rows) - exact).abs().mean() for features in (8, 4096))
    assert many < 0.1 * few


def by(features: int, qkv_N3HK: torch.Tensor, layout, position_N, weight_N) -> torch.Tensor:
    kernel = bound("performer", features=features).kernel(layout, 1)
    return kernel(qkv_N3HK, layout, 0.0, weight_N=weight_N)


def test_directions_are_orthogonal_in_blocks_and_as_long_as_gaussian_ones():
    drawn_FK = orthogonal(2048 + 3, 8, seed=1)
    assert drawn_FK.shape == (2051, 8)
    block = drawn_FK[:8] @ drawn_FK[:8].T
    torch.testing.assert_close(block, block.diag().diag(), atol=1e-5, rtol=0)
    assert drawn_FK.square().sum(1).mean() == pytest.approx(8, rel=0.05)
    assert drawn_FK.mean(0).abs().max() < 0.1  # no side is preferred
    assert torch.equal(drawn_FK, orthogonal(2051, 8, seed=1))
    assert not torch.equal(drawn_FK, orthogonal(2051, 8, seed=2))


def test_large_scores_do_not_overflow():
    qkv_N3HK, layout, *_ = drawn([12, 7])
    found = bound("performer").kernel(layout, 1)(1e3 * qkv_N3HK, layout, 0.0)
    assert found.isfinite().all()


def in_reformer(pattern: Reformer, one: Example) -> torch.Tensor:
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


def by_mask(pattern: Any, one: Example) -> torch.Tensor:
    """Softmax attention of one example where `sees` says who sees whom."""
    place_T = torch.arange(len(one.position_T))
    length = torch.tensor(len(place_T))
    q = Where(place_T[:, None], one.position_T[:, None], length, one.layer)
    k = Where(place_T[None], one.position_T[None], length, one.layer)
    scores_HTT = one.q_HTK @ one.k_HTK.transpose(1, 2) / one.q_HTK.shape[-1] ** 0.5
    return scores_HTT.masked_fill(~pattern.sees(q, k), -torch.inf).softmax(-1) @ one.v_HTK


REFERENCES = {
    "cosformer": in_cosformer,
    "linformer": in_linformer,
    "nystrom": in_nystrom,
    "performer": in_performer,
    "reformer": in_reformer,
}


@pytest.mark.parametrize("lengths", [[130], [9, 130, 1, 40, 4, 137]], ids=str)
@pytest.mark.parametrize("kind", kinds("attention"))
def test_a_product_is_that_of_its_mask_or_of_its_dense_reference(kind: str, lengths: list[int]):
    pattern = bound(kind)
    found = product(pattern, lengths)
    if found is None:
        pytest.skip("the encoder's own product, with the mask itself")
    wanted = [
        REFERENCES.get(kind, by_mask)(pattern, one).transpose(0, 1)
        for one in examples(*drawn(lengths))
    ]
    torch.testing.assert_close(found, torch.cat(wanted), atol=2e-4, rtol=1e-3)


APPROXIMATE = [kind for kind in kinds("attention") if not has_mask(kind)]


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_an_approximate_product_has_a_gradient_and_works_in_fp32(kind: str):
    pattern, (qkv_N, layout, *_) = bound(kind), drawn([130, 9])
    low_N = qkv_N.bfloat16()
    given_N = low_N.float().requires_grad_()
    exact_N = pattern.kernel(layout, 2)(given_N, layout, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded_N = pattern.kernel(layout, 2)(low_N, layout, 0.0)
    torch.testing.assert_close(rounded_N, exact_N.bfloat16())
    exact_N.square().sum().backward()
    assert given_N.grad is not None
    assert given_N.grad.isfinite().all()
    assert (given_N.grad[:, 2].abs().sum((1, 2)) > 0).all()  # every value is read


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_an_approximate_product_has_no_place_for_a_relative_bias(kind: str):
    with pytest.raises(ValueError, match=f"attention={kind} has no place for .* bias"):
        tiny(kind, relative_buckets=8)
    assert tiny("bigbird", relative_buckets=8)(ragged()).logits_BC.isfinite().all()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_merged_token_counts_as_often_as_it_was_merged(kind: str):
    pattern, ones = bound(kind), torch.zeros(40)
    plain = product(pattern, [40], weight_N=ones)
    assert torch.equal(plain, product(pattern, [40], weight_N=None))
    assert not torch.allclose(plain, product(pattern, [40]), atol=1e-4)


@pytest.mark.parametrize("kind", ["cosformer", "linformer"])
def test_a_dropped_token_leaves_the_others_in_their_places(kind: str):
    """As if its key and value had been 0: distances, span and columns are those of the text."""
    pattern, (qkv_N3HK, layout, *_) = bound(kind), drawn([9])
    qkv_N3HK[4, 1:] = 0
    place_N = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8])
    whole = pattern.kernel(layout, 1)(qkv_N3HK, layout, 0.0)
    eight = Layout(torch.tensor([8]), layout.device)
    fewer = pattern.kernel(eight, 1)(qkv_N3HK[place_N], eight, 0.0, position_N=place_N)
    torch.testing.assert_close(fewer, whole[place_N])
