"""Leaving when every label is sure, by hand."""

import math

import torch

from eat_lightning.methods.exit.every_label import EveryLabel, least_sure


def guesses(*probabilities: list[float]) -> torch.Tensor:
    """Logits of one exit, by the probability of each label of each example."""
    return torch.tensor([[[math.log(p / (1 - p)) for p in example] for example in probabilities]])


def test_the_least_sure_label_counts_whether_it_is_there_or_not():
    sure_B = least_sure(guesses([0.95, 0.02], [0.95, 0.3])[-1])
    torch.testing.assert_close(sure_B, torch.tensor([0.95, 0.7]))
    assert EveryLabel(0.9).decides(guesses([0.95, 0.02], [0.95, 0.3])).tolist() == [1, 0]


def test_at_1_nobody_leaves_and_at_a_half_all_do():
    saturated = torch.tensor([[[200.0, -200.0]]])
    assert EveryLabel(0.999).decides(saturated).tolist() == [1]
    assert EveryLabel(1.0).decides(saturated).tolist() == [0]
    assert EveryLabel(0.5).decides(torch.zeros(1, 1, 3)).tolist() == [1]


def test_margin_is_the_distance_of_the_least_sure_label_from_tau():
    margin_B = EveryLabel([0.5, 0.8], [2, 4]).margin(guesses([0.95, 0.3]).repeat(2, 1, 1))
    torch.testing.assert_close(margin_B, torch.tensor([0.1]))
