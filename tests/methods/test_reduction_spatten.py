"""SpAtten: importance is the attention received so far, by hand."""

import torch
from models import packed

from eat_lightning.methods.reduction.spatten import SpAtten
from eat_lightning.model.evidence import Evidence


def received(*values: float) -> Evidence:
    return Evidence(received_N=torch.tensor(values))


def test_importance_adds_up_over_layers():
    made = SpAtten(ratio=[0.0, 0.5], layers=[1, 2])
    rows = packed([[float(i)] for i in range(5)], [5])
    same = made(rows, received(0.1, 0.9, 0.5, 0.2, 0.3), 1)
    assert same.x_ND.flatten().tolist() == [0, 1, 2, 3, 4]
    # Sums: .9 .6 1.1 .5; at the second layer alone 3, 2, 4 would lead.
    short = made(same, received(0.1, 0.0, 0.1, 0.9, 0.2), 2)
    assert short.x_ND.flatten().tolist() == [0, 1, 3]
    torch.testing.assert_close(short.notes["importance"], torch.tensor([0.2, 0.9, 1.1]))
