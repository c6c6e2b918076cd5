"""BigBird's blocks, by hand, and which of them are drawn."""

import pytest
import torch

from eat_lightning.methods.attention.bigbird import BigBird
from eat_lightning.model.contracts import Where


def sees(pattern: BigBird, length: int, layer: int = 1) -> torch.Tensor:
    place = torch.arange(length)
    q = Where(place[:, None], place[:, None], torch.tensor(length), layer)
    k = Where(place[None], place[None], torch.tensor(length), layer)
    return pattern.sees(q, k)


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
