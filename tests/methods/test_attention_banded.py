"""The banded product is the masked one, computed on the band alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import method, packed, ragged, tiny, tiny_shape
from torch import Tensor

from eat_lightning.methods.attention import longformer
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.model.banded import banded_attention, pairs
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, product_flops
from eat_lightning.model.packed import Layout, Packed

CPU = torch.device("cpu")
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-4}


def masked(qkv_N: Tensor, layout: Layout, *, half_window: int) -> Tensor:
    place = torch.arange(layout.longest)
    seen = (place[:, None] - place).abs() <= half_window
    seen = seen | (place == 0) | (place[:, None] == 0)
    q, k, v = layout.pad(qkv_N).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(
        q, k, v, attn_mask=seen & layout.real_BL[:, None, None, :]
    )
    return layout.unpad(mixed.transpose(1, 2))


def qkv(layout: Layout) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(layout.num_tokens, 3, 2, 4, generator=generator).requires_grad_()


LENGTHS = [[1], [31, 32, 33], [64, 3, 1, 40], [130, 97, 129]]


@pytest.mark.parametrize("half_window", [1, 16, 70])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_equals_the_masked_product(lengths: list[int], half_window: int):
    layout = Layout(torch.tensor(lengths), CPU)
    ours = banded_attention(qkv(layout), layout, half_window=half_window)
    torch.testing.assert_close(ours, masked(qkv(layout), layout, half_window=half_window), **CLOSE)


def test_gradients_are_those_of_the_masked_product():
    layout = Layout(torch.tensor([40, 7]), CPU)
    grads = []
    for product in (banded_attention, masked):
        inputs = qkv(layout)
        product(inputs, layout, half_window=3).pow(2).sum().backward()
        grads.append(inputs.grad)
    torch.testing.assert_close(*grads, **CLOSE)


def test_short_texts_keep_the_masked_product():
    pattern = Longformer(window=32)
    first = next(n for n in range(1, 400) if pattern.kernel(Layout(torch.tensor([n]), CPU), 1))
    assert 5 * 32 * 65 + first <= longformer.PAYS * first**2
    assert first == pattern_says(pattern)
    assert Longformer(window=32, layers=[2]).kernel(Layout(torch.tensor([400]), CPU), 1) is None


def pattern_says(pattern: Longformer) -> int:
    """The first length at which fewer pairs than all are counted."""
    lengths = np.arange(1, 400)
    counted = pattern.flops(tiny_shape(), 1, lengths)
    return int(lengths[counted < 4 * 16 * lengths**2][0])


def encoder(reduction: str = "norm_topk", **changes: Any) -> AdaptiveEncoder:
    made = tiny("dense", reduction, max_positions=400, **changes)
    made = made.replacing(attention=Longformer(window=8))
    return made


class Masked(Longformer):
    """The same window, always by the masked product."""

    def kernel(self, layout: Layout, layer: int) -> None:
        return None


@pytest.mark.parametrize("reduction", ["none", "received_topk"])
def test_the_encoder_answers_alike_with_and_without(reduction: str):
    model, batch = encoder(reduction), ragged((390, 5, 200))
    with torch.inference_mode():
        banded = model(batch)
        whole = model.replacing(attention=Masked(window=8))(batch)
    torch.testing.assert_close(banded.logits_BC, whole.logits_BC, atol=1e-4, rtol=1e-4)
    assert torch.equal(banded.tokens_LB, whole.tokens_LB)


def test_a_bias_or_the_whole_matrix_keeps_the_masked_product():
    rows = one_example(300)
    assert encoder().kernel(rows, 1, frozenset()) is not None
    assert encoder().kernel(rows, 1, frozenset({"received"})) is None
    assert encoder().kernel(replace(rows, weight_N=torch.zeros(300)), 1, frozenset()) is None
    assert encoder(relative_buckets=8).kernel(rows, 1, frozenset()) is None
    assert tiny().kernel(rows, 1, frozenset()) is None


def one_example(length: int) -> Packed:
    return packed([[0.0]] * length, [length])


def test_flops_count_the_band():
    model, lengths = encoder("none"), np.full((6, 1), 390)
    band = pairs(390, 4)
    assert product_flops(model, lengths).tolist() == [[4 * 16 * band]] * 6
    never, depth = method("exit", "never"), np.array([6])
    saved = 6 * 2 * 2 * 16 * (390**2 - band)
    dense = tiny("dense", max_positions=400)
    assert flops(dense, never, lengths, depth) - flops(model, never, lengths, depth) == saved
