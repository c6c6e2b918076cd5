"""The parts that bodies are made of, in encoders that drop rows and let examples leave."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.memory import Largest
from helpers.models import method, packed, ragged, tiny
from test_flops import counted

from eat_lightning.model.banded import local_kernel, near_attention, near_pairs
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.packed import Layout
from eat_lightning.model.positions import log_bucket
from eat_lightning.new.checks import ENCODER_CHECKS
from eat_lightning.weights.precision import in_dtype
from eat_lightning.weights.prepacked import cannot_in, prepacked

PARTS: dict[str, dict[str, Any]] = {
    "modernbert": {
        "absolute_positions": False,
        "type_vocab_size": 0,
        "relative": "rotary",
        "rotary_base": 1000.0,
        "local_layers": (2, 3, 5, 6),
        "local_window": 8,
        "norm": "first",
        "feed_forward": "gated",
        "biases": False,
    },
    "deberta": {
        "absolute_positions": False,
        "type_vocab_size": 0,
        "relative": "disentangled",
        "relative_buckets": 8,
    },
    "albert": {"layer_groups": 1, "embedding_size": 8},
    "mpnet": {"relative_buckets": 8},
}
parts = pytest.mark.parametrize("body", PARTS)


@parts
def test_every_body_keeps(body: str):
    for check in ENCODER_CHECKS:
        check(tiny("dense", "cls_topk", "confidence", **PARTS[body]))


@parts
@pytest.mark.parametrize("lengths", [(17, 1, 30), (300, 9, 101)])
def test_dropping_equals_hiding(body: str, lengths: tuple[int, ...]):
    """Positions, distances and a body's own windows are those of the original text: what is left
    sees what it saw, in a band (of the 200 tokens left of 300) as under a mask. In fp64, since
    these weights magnify rounding."""
    encoder = tiny(max_positions=320, **PARTS[body]).double()
    whole = encoder.embed(ragged(lengths))
    generator = torch.Generator().manual_seed(0)
    stays_N = (torch.rand(sum(lengths), generator=generator) < 0.7) | (whole.layout.index_N == 0)
    kept_B = torch.bincount(whole.layout.segment_N[stays_N])
    rows_M = stays_N.nonzero().flatten()
    dropped = whole.take(rows_M, kept_B)
    hidden = replace(whole, weight_N=torch.where(stays_N, 0.0, -1e4).double())
    banded = encoder.kernel(dropped, 2, frozenset()) is not None
    assert banded == (body == "modernbert" and lengths[0] == 300)
    with torch.no_grad():
        for number in range(1, 7):
            dropped, _ = encoder.run_layer(dropped, number)
            hidden, _ = encoder.run_layer(hidden, number)
    torch.testing.assert_close(dropped.x_ND, hidden.x_ND[rows_M], atol=1e-9, rtol=1e-9)


def test_memory_grows_with_the_text_and_not_with_its_square():
    """Queries, keys and values of 2,048 tokens are 0.4 MB; a byte for each pair would be 4."""
    length = 2048
    encoder = tiny(max_positions=length, **PARTS["modernbert"])
    with Largest() as seen, torch.no_grad():
        encoder(ragged((length,)))
    assert 3 * 16 * 4 * length <= seen.num_bytes < length**2 / 4


def test_a_band_is_cut_where_it_pays():
    whole = packed([[0.0]] * 300, [300])
    dense, longformer = method("attention", "dense"), method("attention", "longformer")
    none: frozenset[str] = frozenset()
    assert local_kernel(whole, dense, 2, 4, 300, none) is not None
    assert local_kernel(whole, dense, 2, 4, 60, none) is None
    assert local_kernel(whole, longformer, 2, 4, 300, none) is None  # it hides more
    assert local_kernel(whole, dense, 2, 4, 300, frozenset({"received"})) is None
    merged = replace(whole, size_N=torch.ones(300))
    assert local_kernel(merged, dense, 2, 4, 300, none) is None


def test_a_band_of_ones_is_the_mean_of_neighbours():
    """Equal scores: each row is the mean of the values at most 2 places away; pruning took 3, 4."""
    position_N = torch.tensor([0, 1, 2, 5, 6])
    qkv_N = torch.zeros(5, 3, 1, 1)
    qkv_N[:, 2, 0, 0] = torch.tensor([0.0, 1.0, 2.0, 5.0, 6.0])
    layout = Layout(torch.tensor([5]), torch.device("cpu"))
    mixed_N = near_attention(qkv_N, layout, half_window=2, position_N=position_N).flatten()
    assert mixed_N.tolist() == [1.0, 1.0, 1.0, 5.5, 5.5]
    assert near_pairs(5, 2) == 32 * (32 + 4)


def test_buckets_are_exact_near_and_logarithmic_far():
    """8 buckets for each sign, exact up to 4, over 32 positions: log(16 / 4) / log(31 / 4) of 3
    more is 2.03, whose ceiling is 3."""
    distance = torch.tensor([0, 1, -3, 4, 5, 16, -16, 31])
    assert log_bucket(distance, 8, 32).tolist() == [0, 1, -3, 4, 5, 7, -7, 7]


@parts
def test_flops_are_those_of_the_counter(body: str):
    for length in (30, 300):
        encoder, batch = tiny(max_positions=320, **PARTS[body]), ragged((length,))
        tokens_LB, depth_B = np.full((6, 1), length), np.array([6])
        ours = flops(encoder, encoder.exit, tokens_LB, depth_B)
        assert ours == pytest.approx([counted(encoder, batch)[0]], rel=1e-9)
        assert static_flops(encoder, np.array([length])) == pytest.approx(ours)


@parts
@pytest.mark.parametrize("form", ["prepacked", "int8", "bf16"])
def test_other_forms_of_weights(form: str, body: str):
    """A prepacked twin answers equally; int8 and bf16 nearly."""
    encoder, batch = tiny(**PARTS[body]), ragged()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(0.4 if weight.ndim == 2 else 1.0)  # so that rounding is not magnified
    if form == "prepacked" and (reason := cannot_in("fp32")):
        pytest.skip(reason)
    other = prepacked(encoder) if form == "prepacked" else in_dtype(encoder, form)
    with torch.inference_mode():
        ours_BC, other_BC = encoder(batch).logits_BC, other(batch).logits_BC.float()
    assert other_BC.isfinite().all()
    gap = ((ours_BC - other_BC).abs().max() / ours_BC.abs().max()).item()
    assert gap < (1e-4 if form == "prepacked" else 0.3)


def test_shared_layers_are_kept_once():
    encoder = tiny(**PARTS["albert"])
    assert len(encoder.layers) == 6
    assert len({id(layer) for layer in encoder.layers}) == 1
    assert not [name for name in encoder.state_dict() if name.startswith("layers.1.")]
    assert cannot_in("fp32") or len({*prepacked(encoder).layers.children()}) == 1


@pytest.mark.parametrize(
    ("body", "what"),
    [("modernbert", "local windows"), ("deberta", "disentangled scores"), ("mpnet", "bias")],
)
def test_an_approximate_attention_is_refused_by_name(body: str, what: str):
    with pytest.raises(ValueError, match=f"attention=performer has no place for .*{what}"):
        tiny("performer", **PARTS[body])
