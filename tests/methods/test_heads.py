"""What holds for every kind of head, found by looking."""

import pytest
import torch
from models import alone, kinds, method, ragged, tiny

from eat_lightning.infer.depth_batching import Pool
from eat_lightning.model.options import ALL_EXITS

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
