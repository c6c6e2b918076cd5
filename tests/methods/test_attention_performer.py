"""Performer: softmax attention by random features."""

import pytest
import torch
from helpers.attentions import WIDTH, Example, bound, drawn, examples

from eat_lightning.methods.attention.performer import Performer, orthogonal


def reference(pattern: Performer, one: Example) -> torch.Tensor:
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
