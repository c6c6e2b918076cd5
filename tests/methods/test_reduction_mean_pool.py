"""Funnel's pooling step, by hand."""

import pytest
from helpers.models import packed

from eat_lightning.methods.reduction.mean_pool import MeanPool
from eat_lightning.model.evidence import Evidence


def pooled(lengths: list[int], strength: float = 1.0, **changes):
    rows = packed([[float(i)] for i in range(sum(lengths))], lengths, strength)
    return MeanPool(**{"layers": [1], **changes})(rows, Evidence(), 1)


def test_pairs_become_their_mean_and_cls_stands_apart():
    short = pooled([6, 3, 1, 2])
    assert short.x_ND.flatten().tolist() == [0, 1.5, 3.5, 5, 6, 7.5, 9, 10, 11]
    assert short.layout.lengths_B.tolist() == [4, 2, 1, 2]
    assert short.size_N.tolist() == [1, 2, 2, 1, 1, 2, 1, 1, 1]
    assert short.position_N.tolist() == [0, 1, 3, 5, 0, 1, 0, 0, 1]
    assert short.weight_N is None  # plain means: no key counts twice


def test_a_second_step_is_the_mean_of_all():
    once = pooled([6])
    twice = MeanPool(layers=[1])(once, Evidence(), 1)
    assert twice.x_ND.flatten().tolist() == [0, 2.5, 5]  # of 1 2 3 4


@pytest.mark.parametrize(
    ("ratio", "strength", "expected"),
    [
        (0.25, 1.0, [0, 1, 2, 3.5, 5, 6, 7.5]),  # every second pair
        (0.5, 0.5, [0, 1, 2, 3.5, 5, 6, 7.5]),
        (0.0, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (0.5, 0.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_less_than_half_are_pairs_spread_evenly(ratio: float, strength: float, expected: list):
    assert pooled([9], strength, ratio=ratio).x_ND.flatten().tolist() == expected
