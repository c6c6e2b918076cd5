"""A low-rank adapter beside the layers of a frozen encoder."""

from dataclasses import replace

import torch
from models import packed

from experiments.one_pass.side import RANK, Adapter, text_means


def rows(x_ND: list[list[float]]):
    """[CLS] a a [SEP] b [SEP]."""
    text_N = torch.tensor([0, 1, 1, 0, 2, 0])
    return replace(packed(x_ND, [6]), notes={"text": text_N})


def test_means_are_of_the_tokens_of_each_text():
    x_N2 = torch.tensor([[9.0, 9], [1, 2], [3, 6], [9, 9], [5, 7], [9, 9]])
    found = text_means(rows(x_N2.tolist()), x_N2, 2)
    assert found.tolist() == [[2, 4, 5, 7]]


def test_a_later_exit_reads_what_an_earlier_one_kept():
    torch.manual_seed(0)
    adapter, first = Adapter(2, 8, 2), rows(torch.randn(6, 8).tolist())
    other, second = rows(torch.randn(6, 8).tolist()), rows(torch.randn(6, 8).tolist())
    found, changed = adapter([first, second]), adapter([other, second])
    assert found.shape == (1, 2, 2 * RANK)
    assert not torch.allclose(found[:, 1], changed[:, 1])
    with torch.no_grad():
        adapter.onward[1].weight.zero_()
    assert torch.equal(adapter([first, second])[:, 1], adapter([other, second])[:, 1])
