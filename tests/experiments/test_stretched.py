"""An encoder run stretch by stretch is the encoder: in a batch, one by one, with one that is left.

Its traced stretches: tests/export.
"""

import pytest
import torch
from models import alone, each_once, portable, ragged, tiny

from experiments.bench.stretched import Stretched

LENGTHS = (9, 3, 14, 2, 7, 11, 5)


@pytest.mark.parametrize(
    ("attention", "reduction", "exit"),
    each_once(*map(portable, ("attention", "reduction", "exit"))),
)
def test_stretch_by_stretch(attention: str, reduction: str, exit: str):
    encoder = tiny(attention, reduction, exit)
    stretched = Stretched(encoder, lambda stretch, state: stretch)
    with torch.inference_mode():
        for batch in (ragged(LENGTHS), ragged((12, 4)), *alone(ragged(LENGTHS))):
            wanted, found = encoder(batch), stretched(batch)
            assert torch.equal(found.depth_B, wanted.depth_B)
            assert torch.equal(found.reason_B, wanted.reason_B)
            assert torch.equal(found.tokens_LB, wanted.tokens_LB)
            torch.testing.assert_close(found.logits_BC, wanted.logits_BC, atol=1e-5, rtol=1e-5)
