"""What holds for every kind of head, found by looking."""

import copy
from pathlib import Path

import pytest
import torch
from models import alone, kinds, method, ragged, tiny

from eat_lightning.infer.depth_batching import Pool
from eat_lightning.model.options import ALL_EXITS
from eat_lightning.weights.checkpoint import load_model, save_model

HEADS = kinds("head")


def with_heads(kind: str, exit: str = "confidence", **changes):
    head = {"kind": kind, "layers": "all"}
    if kind == "attention":  # as narrow as the encoder is: sums stay small beside their rounding
        head["width"] = 8
    return tiny("dense", "norm_topk", exit, head=head, **changes)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_an_example_depends_on_no_other_and_on_no_exit_rule(kind: str, pool: str):
    """Alone or in a batch, leaving or not, in a depth-wise pool: the same guess at the same exit,
    though rules ask different heads."""
    encoder, batch = with_heads(kind), ragged()
    for head in encoder.heads.values():
        head.pool = pool
    whole = encoder(batch, ALL_EXITS)
    for rule in (encoder.exit, method("exit", "fixed"), method("exit", "never")):
        body = encoder.replacing(exit=rule)
        trace = body(batch)
        depths = enumerate(trace.depth_B.tolist())
        expected_BC = torch.stack([whole.guesses[depth][i] for i, depth in depths])
        torch.testing.assert_close(trace.logits_BC, expected_BC, atol=1e-4, rtol=1e-4)
        single_BC = torch.cat([body(one).logits_BC for one in alone(batch)])
        torch.testing.assert_close(single_BC, expected_BC, atol=1e-4, rtol=1e-4)
        with torch.inference_mode():
            pool_of = Pool(body, size=3)
            done = [*pool_of.add(range(5), batch), *pool_of.flush()]
        for names, part in done:
            torch.testing.assert_close(part.logits_BC, trace.logits_BC[names], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_saved_and_loaded_it_answers_alike(kind: str, tmp_path: Path):
    from eat_lightning.weights.hf import EatForSequenceClassification  # and transformers with it

    encoder, batch = with_heads(kind), ragged()
    encoder.heads["3"].temperature.fill_(2.0)  # an exit's own, whatever else is shared
    expected = encoder(batch, ALL_EXITS).guesses
    save_model(encoder, ["a", "b", "c"], tmp_path)
    loaded, _ = load_model(tmp_path)
    assert loaded.head == encoder.head
    assert loaded.head["layers"] == [1, 2, 3, 4, 5, 6]  # numbers, not "all"
    again = EatForSequenceClassification.from_pretrained(tmp_path).encoder
    for other in (loaded, again, copy.deepcopy(encoder)):
        found = other(batch, ALL_EXITS).guesses
        for layer, guess_BC in expected.items():
            torch.testing.assert_close(found[layer], guess_BC)
