"""int8 by hand, with factors of inputs; a row by itself; every method; away from fp32, and back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import alone, each_once, kinds, ragged, tiny
from torch import nn

from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import FACTOR, Int8Linear, in_int8, is_int8, out_of_int8, quantise
from eat_lightning.model.smoothing import (
    factor,
    factors_in,
    factors_of,
    set_factors,
    smoothed_layers,
)
from eat_lightning.weights.factors import FACTORS, load_factors, save_factors
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


def test_factors_by_hand():
    """Ranges of 2 ** 10 and 1 beside weights of 1: 0.65 * 10 and 0, less their mean of 3.25, are
    3.25 and -3.25, of which whole powers of two are 8 and 1/8."""
    assert factor(torch.tensor([1024.0, 1.0]), torch.ones(2)).tolist() == [8.0, 0.125]
    # Weights take the rest: 0.35 * 10 less for a channel that they multiply by 1024.
    assert factor(torch.ones(2), torch.tensor([1024.0, 1.0])).tolist() == [2.0**-2, 2.0**2]
    assert factor(torch.zeros(2), torch.zeros(2)).tolist() == [1.0, 1.0]


def with_a_wide_channel() -> AdaptiveEncoder:
    """An encoder in which one channel of each norm is 64 times as large as the others."""
    torch.manual_seed(0)
    encoder = tiny("dense", "none", "never").eval()
    for layer in encoder.layers:
        for norm in (layer.attention_norm, layer.output_norm):
            norm.weight.data[0] *= 64
    return encoder


def test_int8_with_factors_is_nearer_to_fp32():
    """A channel that is 64 times as large as the others decides the scale of every row."""
    torch.manual_seed(0)
    linear, x = nn.Linear(32, 48), torch.randn(40, 32)
    x[:, 0] *= 64
    exact, without = linear(x), Int8Linear(linear)(x)
    factor_K = factor(x.abs().amax(0), linear.weight.detach().abs().amax(0))
    linear.register_buffer(FACTOR, factor_K, persistent=False)
    nearer = Int8Linear(linear)(x)
    assert torch.equal(linear(x), exact)  # fp32 computes what it did
    assert 0 < (nearer - exact).norm() < 0.5 * (without - exact).norm()


def test_away_from_factors_and_back():
    """Powers of two are exact, so that the same whole numbers come out."""
    encoder = with_a_wide_channel()
    set_factors(encoder, factors_of(encoder, [ragged()]))
    whole = in_int8(encoder)
    again = in_int8(out_of_int8(whole))
    for one, other in zip(whole.layers, again.layers, strict=True):
        assert torch.equal(one.up.weight, other.up.weight)
        assert torch.equal(one.up.shrink, other.up.shrink)
        assert one.down.shrink is None


def test_factors_in_a_folder(tmp_path: Path):
    """They lie beside the weights, which stay as they are; others are refused in one line."""
    encoder, other = with_a_wide_channel(), with_a_wide_channel()
    save_factors(encoder, tmp_path)
    assert not [*tmp_path.iterdir()]  # it has none
    load_factors(other, tmp_path)
    assert factors_in(other) == {}
    set_factors(encoder, factors_of(encoder, [ragged()]))
    assert encoder.state_dict().keys() == other.state_dict().keys()
    save_factors(encoder, tmp_path)
    load_factors(other, tmp_path)
    with torch.inference_mode():
        ours, theirs = (in_int8(each)(ragged()).logits_BC for each in (encoder, other))
    assert torch.equal(ours, theirs)
    (tmp_path / FACTORS).write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_factors(other, tmp_path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda found: found.pop("layers.0.qkv"), "of other layers"),
        (lambda found: found["layers.0.up"].mul_(-1), "positive numbers"),
        (lambda found: found["layers.0.up"].fill_(1e-45), "positive numbers"),
        (lambda found: found["layers.0.up"].fill_(float("nan")), "positive numbers"),
        (lambda found: found.update({"layers.0.up": torch.ones(48).double()}), "in fp32"),
        (lambda found: found.update({"layers.0.up": torch.ones(48) * 1j}), "in fp32"),
        (lambda found: found.update({"layers.0.up": torch.ones(3)}), "positive numbers"),
    ],
)
def test_factors_that_do_not_fit(change: Any, error: str):
    encoder = with_a_wide_channel()
    found = factors_of(encoder, [ragged()])
    change(found)
    with pytest.raises(ValueError, match=error):
        set_factors(encoder, found)
    assert factors_in(encoder).keys() != smoothed_layers(encoder).keys()
