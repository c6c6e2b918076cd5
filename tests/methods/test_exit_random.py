"""Leaving at random: the share that is asked for, and the same luck whenever it is asked."""

import torch
from models import alone, method, ragged, tiny

from eat_lightning.methods.exit.random import Random
from eat_lightning.model.options import ALL_EXITS


def draws(encoder, batch) -> dict[int, torch.Tensor]:
    return {k: s_BS[:, 0] for k, s_BS in encoder(batch, ALL_EXITS).signals.items()}


def test_leaves_where_the_draw_is_below_the_rate():
    signals = torch.tensor([[[0.9], [0.9]], [[0.29], [0.31]]])
    assert Random(0.3, [3, 4]).decides(torch.zeros(2, 2, 2), signals).tolist() == [1, 0]
    assert Random([0.0, 0.31], [3, 4]).decides(torch.zeros(2, 2, 2), signals).tolist() == [1, 0]


def test_draws_are_uniform_and_of_their_own_at_each_exit():
    encoder, batch = tiny(exit="random", num_layers=6), ragged((7,) * 600)
    found = torch.stack([*draws(encoder, batch).values()])  # at 3, 4 and 6
    counts = torch.stack([torch.histc(each, 4, 0, 1) for each in found])
    assert ((counts - 150).abs() < 45).all()  # four standard deviations are 42
    assert torch.corrcoef(found).fill_diagonal_(0).abs().max() < 0.15
    assert len(found[0].unique()) > 590


def test_an_example_has_its_luck_alone_and_pruned_and_with_another_seed_another():
    batch = ragged()
    encoder = tiny(exit="random")
    together = draws(encoder, batch)[4]
    assert [float(draws(encoder, one)[4]) for one in alone(batch)] == together.tolist()
    pruned = tiny("dense", "norm_topk", "random")
    assert torch.equal(draws(pruned, batch)[4], together)
    encoder = encoder.replacing(exit=method("exit", "random", seed=1))
    assert not torch.equal(draws(encoder, batch)[4], together)
