"""Masks of attentions, by hand: Longformer's window, and BigBird's blocks."""

import pytest
import torch

from eat_lightning.methods.attention.bigbird import BigBird
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.model.contracts import Attention, Where


def sees(pattern: Attention, length: int, layer: int = 1, step: int = 1) -> torch.Tensor:
    """Who sees whom among `length` tokens that are left, `step` apart in the text."""
    place = torch.arange(length)
    q = Where(place[:, None], step * place[:, None], torch.tensor(length), layer)
    k = Where(place[None], step * place[None], torch.tensor(length), layer)
    return pattern.sees(q, k)


def test_window_and_global_cls():
    expected = [
        [1, 1, 1, 1, 1, 1],  # [CLS] sees all
        [1, 1, 1, 0, 0, 0],  # and is seen by all
        [1, 1, 1, 1, 0, 0],
        [1, 0, 1, 1, 1, 0],
        [1, 0, 0, 1, 1, 1],
        [1, 0, 0, 0, 1, 1],
    ]
    assert sees(Longformer(window=2), 6).int().tolist() == expected


def test_window_counts_the_tokens_that_are_left():
    near, far = sees(Longformer(window=4), 12), sees(Longformer(window=4), 12, step=7)
    assert torch.equal(near, far)


def test_chosen_layers():
    pattern = Longformer(window=2, layers=[2])
    assert sees(pattern, 6, layer=1).all()
    assert not sees(pattern, 6, layer=2).all()
    assert pattern.sees_all(100, layer=1)
    assert not pattern.sees_all(100, layer=2)


@pytest.mark.parametrize("window", [2, 4, 8])
def test_sees_all_says_what_sees_does(window: int):
    pattern = Longformer(window)
    for length in range(1, 12):
        assert pattern.sees_all(length, 1) == bool(sees(pattern, length).all())


def test_ends_and_neighbours():
    expected = [
        [1, 1, 1, 1, 1, 1, 1],  # the first block sees all
        [1, 1, 1, 0, 0, 0, 1],  # the others the ends and three
        [1, 1, 1, 1, 0, 0, 1],
        [1, 0, 1, 1, 1, 0, 1],
        [1, 0, 0, 1, 1, 1, 1],
        [1, 0, 0, 0, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1],  # and so does the last
    ]
    assert sees(BigBird(block=1, random=0), 7).int().tolist() == expected
    wide = torch.tensor(expected).bool().repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(sees(BigBird(block=2, random=0), 14), wide)
    assert torch.equal(sees(BigBird(block=2, random=0), 13), wide[:13, :13])


@pytest.mark.parametrize("random", [1, 2, 3])
def test_each_block_draws_so_many_more(random: int):
    """From those that it does not see yet, or all of them where they are few."""
    for length in range(1, 14):
        more = sees(BigBird(1, random), length).sum(1) - sees(BigBird(1, 0), length).sum(1)
        free = length - sees(BigBird(1, 0), length).sum(1)
        assert more.tolist() == [min(random, n) for n in free.tolist()]
        assert BigBird(1, random).sees_all(length, 1) == bool(
            sees(BigBird(1, random), length).all()
        )


def test_pairs_by_hand():
    # 5 blocks of 4 queries meet 6 blocks of 4 keys, and 8 queries of the ends all 18.
    assert BigBird(block=4, random=1)._pairs(18) == 5 * 4 * 6 * 4 + 8 * 18
