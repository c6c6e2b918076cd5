"""Prepacked weights: the same answers but for the last bits, and refused where there are none."""

import pytest
import torch
from helpers.models import each_once, kinds, ragged, tiny
from torch import nn

from eat_lightning.weights.precision import in_dtype
from eat_lightning.weights.prepacked import PrepackedLinear, cannot_in, prepacked

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="a PyTorch without oneDNN"
)


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_a_sum_within_a_product(rows: int):
    torch.manual_seed(0)
    linear, x_ND, to_NM = nn.Linear(24, 40), torch.randn(rows, 24), torch.randn(rows, 40)
    with torch.inference_mode():
        kept_NM, added_NM = to_NM.clone(), PrepackedLinear(linear)(x_ND, to_NM)
        assert torch.allclose(added_NM, linear(x_ND) + to_NM, atol=1e-5)
        assert torch.equal(to_NM, kept_NM)  # another layer's rows, or a record, may hold them


@pytest.mark.parametrize(
    ("attention", "reduction"), each_once(kinds("attention"), kinds("reduction"))
)
def test_same_way_and_answers(attention: str, reduction: str):
    encoder = tiny(attention, reduction, "confidence")
    with torch.inference_mode():
        before, after = encoder(ragged()), prepacked(encoder)(ragged())
    assert torch.equal(before.depth_B, after.depth_B)
    assert torch.equal(before.tokens_LB, after.tokens_LB)
    assert torch.allclose(before.logits_BC, after.logits_BC, atol=1e-4)


@pytest.mark.parametrize("kind", ["pooled", "shared"])
def test_in_bf16_a_heads_dense_layer_is_prepacked_too(kind: str):
    encoder = in_dtype(tiny(head={"kind": kind, "layers": "all"}), "bf16")
    if (reason := cannot_in("bf16")) is not None:
        pytest.skip(reason)
    twin = prepacked(encoder)
    dense = [head.dense for head in twin.heads.values()]
    assert all(type(one) is PrepackedLinear for one in dense)
    assert len({*map(id, dense)}) == (1 if kind == "shared" else len(encoder.heads))
    assert type(encoder.heads["1"].dense) is nn.Linear
    x_BD = torch.randn(5, encoder.shape.hidden_size).bfloat16()
    for number, head in encoder.heads.items():
        with torch.inference_mode():
            wanted, found = (one.act(one.dense(x_BD)) for one in (head, twin.heads[number]))
        assert torch.allclose(found, wanted, atol=0.02)  # eight bits of what is below 1


def test_bf16_strays_from_fp32_no_further_than_it_does_unpacked():
    exact = tiny()
    encoder = in_dtype(exact, "bf16")
    if (reason := cannot_in("bf16")) is not None:
        pytest.skip(reason)
    with torch.inference_mode():
        wanted = exact(ragged()).logits_BC
        plain, packed = (
            (body(ragged()).logits_BC.float() - wanted).abs().max()
            for body in (encoder, prepacked(encoder))
        )
    assert 0 < packed < 1.5 * plain < 0.5


def test_not_on_another_device():
    assert cannot_in("fp32", "meta") == "prepacked weights are for a processor, got meta"
