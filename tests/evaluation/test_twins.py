"""Hugging Face's own model beside ours: the same answers, the same weights."""

import pytest
import torch
from helpers.models import method, ragged, tiny
from torch import nn

from eat_lightning.evaluation.baselines import HuggingFaceTwin
from eat_lightning.model.int8 import Int8Linear, in_int8
from eat_lightning.weights.precision import in_dtype


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"type_vocab_size": 0},
        {"type_vocab_size": 1, "position_offset": 2, "pad_token_id": 1},
        {"type_vocab_size": 0, "position_offset": 2, "relative_buckets": 32, "pad_token_id": 1},
    ],
    ids=["bert", "distilbert", "roberta", "mpnet"],
)
def test_hugging_face_twin_answers_alike(shape: dict, pool: str):
    encoder = tiny(head={"pool": pool}, **shape)
    encoder.heads["6"].temperature.fill_(1.7)
    batch = ragged()
    if shape.get("type_vocab_size") != 2:
        batch.types_N.zero_()
    twin = HuggingFaceTwin(encoder)
    with torch.inference_mode():
        ours, theirs = encoder(batch).logits_BC, twin(twin.ready(batch))
    assert ours.std() > 0.1
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=0)


def test_twins_share_weights_and_bf16_copies_them():
    encoder = tiny("dense", "norm_topk", "confidence")
    encoder.strength.fill_(0.7)
    twin = encoder.replacing(reduction=method("reduction", "none"))
    assert twin.layers is encoder.layers
    assert type(encoder.reduction).__name__ == "NormTopK"
    half = in_dtype(encoder, "bf16")
    assert half.embedding.word.weight.dtype == torch.bfloat16
    assert encoder.embedding.word.weight.dtype == torch.float32
    assert (float(half.strength), half.strength.dtype) == (0.7, torch.float64)


MPNET = {"type_vocab_size": 0, "position_offset": 2, "relative_buckets": 32, "pad_token_id": 1}


@pytest.mark.parametrize("shape", [{}, MPNET], ids=["bert", "mpnet"])
def test_hugging_face_in_int8(shape: dict):
    """Its own linear layers; the answers are near ours, whose q, k and v are one product."""
    encoder = tiny("dense", "none", "never", **shape)
    whole, batch = in_int8(encoder), ragged((7, 7))
    if shape:
        batch.types_N.zero_()
    twin = HuggingFaceTwin(whole)
    parts = [part for part in twin.backbone.modules() if isinstance(part, nn.Linear | Int8Linear)]
    assert len(parts) == 6 * 6
    assert all(isinstance(part, Int8Linear) for part in parts)
    with torch.inference_mode():
        ours, theirs, exact = whole(batch), twin(twin.ready(batch)), encoder(batch)
    torch.testing.assert_close(theirs, ours.logits_BC, atol=0.05, rtol=0)
    assert 1e-4 < (exact.logits_BC - ours.logits_BC).abs().max() < 0.5
