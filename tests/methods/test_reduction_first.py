"""The first tokens stay; at layer 0 the text itself is cut."""

import torch
from models import packed, ragged, tiny

from eat_lightning.methods.reduction.first import First
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Batch


def test_the_first_stay():
    rows = packed([[float(i)] for i in range(7)], [5, 2])
    short = First(ratio=0.5, layers=[1])(rows, Evidence(), 1)
    assert short.x_ND.flatten().tolist() == [0, 1, 2, 5, 6]  # of 4 others 2, of 1 other ceil(0.5)


def test_at_layer_0_it_equals_a_text_that_was_cut():
    encoder, batch = tiny(), ragged((9,))
    cut = Batch.from_lists([batch.ids_N[:5].tolist()], [batch.types_N[:5].tolist()])
    cut_BC = encoder(cut).logits_BC
    encoder = encoder.replacing(reduction=First(ratio=0.5, layers=[0]))
    trace = encoder(batch)
    assert trace.tokens_LB.flatten().tolist() == [5] * 6
    torch.testing.assert_close(trace.logits_BC, cut_BC)
