"""Exits in a row whose distributions are alike, by hand."""

import math

import pytest
import torch
from odds import bits, guesses

from eat_lightning.methods.exit.fpabee import FlexiblePatience, divergences


def test_the_divergence_of_two_guesses():
    """0.9 and 0.5: their mean is 0.7, so JS = H(0.7) - (H(0.9) + 1) / 2 = 0.147 bits."""
    far_EB = divergences(guesses([0.9, 0.9, 0.999999], [0.5, 0.9, 0.000001]))
    expected = bits(0.7) - (bits(0.9) + 1) / 2
    assert expected == pytest.approx(0.1468, abs=1e-4)
    assert far_EB[0].tolist() == pytest.approx([expected, 0.0, 1.0], abs=1e-4)


def test_saturated_guesses_are_numbers():
    far_EB = divergences(torch.tensor([[[200.0, 0.0]], [[200.0, 0.0]], [[0.0, 200.0]]]))
    assert far_EB[:, 0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_one_leaves_whose_guesses_stay_alike_for_long_enough():
    """JS of 0.9 and 0.5 is 0.147, of 0.9 and 0.8 0.014."""
    first, second, third = [0.9, 0.9, 0.5], [0.5, 0.8, 0.9], [0.5, 0.9, 0.9]
    once = FlexiblePatience(0.1, [2, 3, 4])
    assert once.decides(guesses(first)).tolist() == [0, 0, 0]
    assert once.decides(guesses(first, second)).tolist() == [0, 1, 0]
    assert once.decides(guesses(first, second, third)).tolist() == [1, 1, 1]
    twice = FlexiblePatience(0.1, [2, 3, 4], patience=2)
    assert twice.decides(guesses(first, second)).tolist() == [0, 0, 0]
    assert twice.decides(guesses(first, second, third)).tolist() == [0, 1, 0]


def test_the_deciding_exits_threshold_judges_those_before_it():
    rule = FlexiblePatience([0.0, 0.01, 0.2], [2, 3, 4], patience=2)
    assert rule.decides(guesses([0.9], [0.5], [0.5])).tolist() == [1]


def test_margin_is_the_least_distance():
    rule = FlexiblePatience(0.1, [2, 3, 4], patience=2)
    assert rule.margin(guesses([0.9], [0.5], [0.5])).tolist() == pytest.approx([0.0468], abs=1e-4)
    assert rule.margin(guesses([0.9])).tolist() == [math.inf]
