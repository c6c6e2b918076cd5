"""Learn then test: exact bounds at numbers from the binomial, and where a sequence ends."""

from math import comb

import numpy as np
import pytest

from eat_lightning.deploy.certify.procedure._bounds import (
    allowed,
    betting,
    clopper_pearson,
    fixed_sequence,
)
from eat_lightning.deploy.certify.procedure.learn_then_test import LearnThenTest

TEST = LearnThenTest()


def failing(count: int, num: int) -> np.ndarray:
    """One point's losses."""
    return (np.arange(num) < count).astype(float)


def test_a_p_value_is_a_binomial_tail():
    chance = sum(comb(10, k) * 0.2**k * 0.8 ** (10 - k) for k in range(3))
    assert clopper_pearson(np.array(2), 10, 0.2) == pytest.approx(chance)
    assert clopper_pearson(np.array([0, 1]), 2, 0.5).tolist() == [0.25, 0.75]


def test_one_percent_takes_230_examples():
    """0.99 ** 229 is 0.10011."""
    assert TEST.needed(0.01, 0.9, num_chains=1, low=0, binary=True) == 230
    for num, held in ((229, 0), (230, 1)):
        assert TEST.certified([np.zeros((1, num))], 0.01, 0.9)[0] == held


@pytest.mark.parametrize(("num", "most"), [(229, -1), (230, 0), (436, 1), (872, 4), (5000, 40)])
def test_how_many_may_fail(num: int, most: int):
    assert allowed(num, 0.01, 0.1) == most
    for count in {max(most, 0), most + 1}:
        held = TEST.certified([failing(count, num)[None]], 0.01, 0.9)[0]
        assert held == (count <= most)


def test_the_last_before_the_first_failure():
    assert fixed_sequence(np.array([0.01, 0.1, 0.2, 0.01]), 0.1) == 2
    assert fixed_sequence(np.array([0.2, 0.01]), 0.1) == 0
    assert fixed_sequence(np.array([[0.1, 0.1], [0.05, 0.3]]), 0.1).tolist() == [2, 1]
    losses = np.stack([failing(count, 872) for count in (0, 3, 4, 5, 0)])
    assert TEST.certified([losses], 0.01, 0.9)[0] == 3


def test_chains_share_the_error():
    """With two chains each has 5 %: 0.99 ** 298 is 0.05003."""
    assert TEST.needed(0.01, 0.9, num_chains=2, low=0, binary=True) == 299
    chains = [np.zeros((1, 298)), np.zeros((1, 299))]
    assert [int(n) for n in TEST.certified(chains, 0.01, 0.9)] == [0, 1]


def test_a_bet_by_hand():
    """One loss of 0 against a level of 0.5: bets are capped at 0.9 / 0.5, and win 0.5 of that."""
    assert betting(np.zeros(1), 0.5, 0.1) == pytest.approx(1 / (1 + 1.8 * 0.5))
    assert betting(np.ones(1), 0.5, 0.1) == 1  # never above 1
    # On losses in [-1, 1] a level of 0 is the same bound.
    assert betting(-np.ones(1), 0, 0.1, low=-1) == pytest.approx(1 / 1.9)


def test_a_gap_is_bounded_by_betting():
    """Repairs pay for harm, as no bound on harm alone would let them."""
    needed = TEST.needed(0.01, 0.9, num_chains=1, low=-1, binary=False)
    assert 230 < needed < 300
    for num, held in ((needed - 1, 0), (needed, 1)):
        assert TEST.certified([np.zeros((1, num))], 0.01, 0.9, low=-1, binary=False)[0] == held
    gaps = np.random.default_rng(0).permutation(np.repeat([1, -1, 0], [60, 60, 4880]))[None]
    assert TEST.certified([gaps], 0.01, 0.9, low=-1, binary=False)[0] == 1
    assert TEST.certified([gaps == 1], 0.01, 0.9)[0] == 0
    assert TEST.certified([np.abs(gaps)], 0.01, 0.9, low=-1, binary=False)[0] == 0
