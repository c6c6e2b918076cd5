"""Leaving when a score is predicted to be near the last layer's, by hand."""

import pytest
import torch

from eat_lightning.methods.exit.predicted_error import PredictedError
from eat_lightning.model.method import argument_faults


def guesses(*examples: tuple[float, float]) -> torch.Tensor:
    """One exit's scores and predicted errors."""
    return torch.tensor([examples])


def test_a_small_error_leaves():
    assert PredictedError(0.2).decides(guesses((3.0, 0.1), (3.0, 0.3))).tolist() == [1, 0]
    two = PredictedError([0.2, 0.5], [2, 4])
    assert two.decides(guesses((3.0, 0.3)).repeat(2, 1, 1)).tolist() == [1]


def test_at_0_nobody_leaves_though_a_head_may_say_less():
    assert PredictedError(0.0).decides(guesses((3.0, -0.1), (3.0, 0.0))).tolist() == [0, 0]


def test_with_cuts_the_side_must_be_sure():
    """Half a unit from the nearest of two cuts: an error of 0.2 is below half of it, 0.3 is not."""
    rule = PredictedError(0.5, cuts=[1.0, 2.5])
    assert rule.decides(guesses((2.0, 0.2), (2.0, 0.3), (9.0, 2.0))).tolist() == [1, 0, 1]
    assert rule.margin(guesses((2.0, 0.2))).tolist() == pytest.approx([0.05])


def test_cuts_are_numbers():
    faults = argument_faults(PredictedError, 6, cuts=["x"], layers=[3])
    assert faults == ["exit.cuts must be numbers, got 'x'"]
