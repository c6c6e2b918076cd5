"""Linformer: attention over learned sums of keys and of values."""

import torch
from helpers.attentions import WIDTH, Example, bound, drawn, examples, product
from torch import nn

from eat_lightning.methods.attention.linformer import Linformer


def reference(pattern: Linformer, one: Example) -> torch.Tensor:
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


def test_a_dropped_token_leaves_the_sum():
    """As if its key and value had been 0: the columns of the others stay theirs."""
    pattern = bound("linformer")
    qkv_N3HK, layout, *_ = drawn([9])
    zeroed = qkv_N3HK.clone()
    zeroed[4, 1:] = 0
    kept = [i for i in range(9) if i != 4]
    whole = pattern.kernel(layout, 1)(zeroed, layout, 0.0)
    layout = type(layout)(torch.tensor([8]), layout.device)
    place_N = torch.tensor(kept)
    fewer = pattern.kernel(layout, 1)(qkv_N3HK[kept], layout, 0.0, position_N=place_N)
    torch.testing.assert_close(fewer, whole[kept])
