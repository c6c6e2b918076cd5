"""Everybody leaves at one layer."""

import torch
from models import ragged, tiny

from eat_lightning.model.options import ALL_EXITS


def test_everybody_leaves_there_whatever_they_say():
    encoder, batch = tiny(exit="fixed"), ragged()
    trace = encoder(batch)
    assert trace.depth_B.tolist() == [4] * 5
    assert (trace.tokens_LB[4:] == 0).all()
    whole = encoder(batch, ALL_EXITS)
    torch.testing.assert_close(trace.logits_BC, whole.guesses[4])
