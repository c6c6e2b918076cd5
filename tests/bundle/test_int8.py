"""int8 by hand; a row by itself; every method; away from fp32, and back."""

import pytest
import torch
from helpers.models import alone, each_once, kinds, ragged, tiny
from torch import nn

from eat_lightning.model.int8 import Int8Linear, in_int8, is_int8, out_of_int8, quantise
from eat_lightning.weights.precision import in_dtype


def test_by_hand():
    """A row's largest value becomes 127, a half goes to the even number, zeros stay zeros."""
    whole, scale = quantise(torch.tensor([[254.0, -1.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert whole.tolist() == [[127, 0, 2, 0], [0, 0, 0, 0]]
    assert scale[0].item() == pytest.approx(2.0)
    linear = nn.Linear(2, 2)
    linear.weight.data = torch.tensor([[127.0, 1.0], [0.0, -2.54]])
    linear.bias.data = torch.tensor([0.5, 0.0])
    made = Int8Linear(linear)
    assert made.weight.tolist() == [[127, 1], [0, -127]]
    # x = [1, 0.5] is [127, 64] / 127: 127 * 127 + 64, and 64 * -127 * 0.02, over 127
    y = made(torch.tensor([[1.0, 0.5]]))
    assert y[0].tolist() == pytest.approx([(127 * 127 + 64) / 127 + 0.5, -64 * 0.02], rel=1e-5)


def test_a_row_does_not_depend_on_its_company():
    """Bit by bit, though the others are a thousand times as large."""
    torch.manual_seed(0)
    made, x = Int8Linear(nn.Linear(32, 48)), torch.randn(40, 32)
    x[1:] *= 1000
    assert torch.equal(made(x)[:1], made(x[:1]))
    assert torch.equal(made(x.view(4, 10, 32)).view(40, 48), made(x))
    error = (made.linear()(x) - made(x)).abs().amax(1) / made.linear()(x).abs().amax(1)
    assert 0 < error.max() < 0.02


@pytest.mark.parametrize(
    ("attention", "reduction", "exit"),
    each_once(kinds("attention"), kinds("reduction"), kinds("exit")),
)
def test_a_batch_answers_as_its_examples_do(attention: str, reduction: str, exit: str):
    encoder = in_int8(tiny(attention, reduction, exit))
    batch = ragged()
    with torch.inference_mode():
        together, ones = encoder(batch), [encoder(one) for one in alone(batch)]
    assert together.depth_B.tolist() == [int(one.depth_B) for one in ones]
    assert torch.equal(together.tokens_LB, torch.cat([one.tokens_LB for one in ones], dim=1))
    # The attention product takes its sums in another order, which a rounding may make one of 127.
    logits_BC = torch.cat([one.logits_BC for one in ones])
    torch.testing.assert_close(together.logits_BC, logits_BC, atol=0.05, rtol=0)


def test_what_stays_in_fp32():
    """Classes, scores and the whole last head do; the dense layers of early heads do not."""
    plain = tiny("dense", "norm_topk", "confidence")
    encoder, early = in_dtype(plain, "int8"), plain.heads.layers[:-1]
    made = {name for name, part in encoder.named_modules() if isinstance(part, Int8Linear)}
    names = ("qkv", "out", "up", "down")
    products = {f"layers.{i}.{name}" for i in range(6) for name in names}
    assert early
    assert made == products | {f"heads.{layer}.dense" for layer in early}
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}


def test_away_and_back():
    encoder = tiny("dense", "none", "confidence")
    whole = in_int8(encoder)
    again = in_int8(out_of_int8(whole))
    assert is_int8(whole)
    assert not is_int8(out_of_int8(whole))
    assert not is_int8(encoder)
    for one, other in zip(whole.layers, again.layers, strict=True):
        assert torch.equal(one.qkv.weight, other.qkv.weight)
        torch.testing.assert_close(one.qkv.scale, other.qkv.scale)
