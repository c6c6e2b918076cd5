"""cosFormer: products of rectified features, weighed by a cosine of the distance."""

import math

import torch
from helpers.attentions import Example, bound, drawn

from eat_lightning.methods.attention.cosformer import CosFormer
from eat_lightning.model.packed import Layout


def reference(pattern: CosFormer, one: Example) -> torch.Tensor:
    """Equation 10, every pair on its own."""
    place_T = one.position_T
    apart_TT = place_T[:, None] - place_T[None]
    near_TT = torch.cos(math.pi / 2 * apart_TT / (place_T.max() + 1))
    weights_HTT = one.q_HTK.relu() @ one.k_HTK.relu().transpose(1, 2) * near_TT
    weights_HTT = weights_HTT * one.weight_T.exp()
    return weights_HTT @ one.v_HTK / weights_HTT.sum(-1, keepdim=True).clamp(min=1e-6)


def test_places_are_those_of_the_text():
    """A token dropped in between leaves the others as far apart as they were, and the span too."""
    qkv_N3HK, layout, *_ = drawn([9])
    qkv_N3HK[4, 1] = -1.0  # a key that no query meets
    kept = [i for i in range(9) if i != 4]
    pattern = bound("cosformer")
    whole = pattern.kernel(layout, 1)(qkv_N3HK, layout, 0.0)
    eight = Layout(torch.tensor([8]), layout.device)
    place_N = torch.tensor(kept)
    fewer = pattern.kernel(eight, 1)(qkv_N3HK[kept], eight, 0.0, position_N=place_N)
    torch.testing.assert_close(fewer, whole[kept])
