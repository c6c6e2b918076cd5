"""Attention received, by hand."""

import torch
from models import packed

from eat_lightning.methods.reduction.received_topk import ReceivedTopK
from eat_lightning.model.evidence import Evidence, gather_evidence
from eat_lightning.model.packed import Layout


def received(q: torch.Tensor, lengths: list[int]) -> list[float]:
    """Attention received by each token where key j is e_j, so that scores are q itself."""
    layout = Layout(torch.tensor(lengths), torch.device("cpu"))
    size = layout.longest
    k = torch.eye(size).expand(len(lengths), 1, size, size)
    mask = None if layout.even else layout.real_BL[:, None, None]
    evidence = gather_evidence(layout, q * size**0.5, k, k, mask, frozenset({"received"}))
    return evidence.received_N.tolist()


def test_sum_over_queries():
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    got = received(weights.log()[None, None], [3])
    torch.testing.assert_close(torch.tensor(got), torch.tensor([0.8, 1.25, 0.95]))


def test_padding_neither_gives_nor_receives():
    got = received(torch.zeros(2, 1, 4, 4), [4, 2])
    torch.testing.assert_close(torch.tensor(got), torch.ones(6))  # t queries give 1 / t each


def test_most_received_stay():
    vectors = packed([[0.0]] * 7, [5, 2])
    evidence = Evidence(received_N=torch.tensor([0.0, 0.1, 0.9, 0.5, 0.9, 0.3, 0.2]))
    out = ReceivedTopK(ratio=0.5, layers=[1])(vectors, evidence, 1)
    assert out.position_N.tolist() == [0, 2, 4, 0, 1]
