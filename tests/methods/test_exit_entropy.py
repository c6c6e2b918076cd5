"""Leaving by low entropy, by hand."""

import math

import pytest
import torch

from eat_lightning.methods.exit._scores import entropy
from eat_lightning.methods.exit.entropy import Entropy
from eat_lightning.model.contracts import at_point

# Probabilities 1/2 1/2 0, 1/4 1/4 1/2 and 1/3 each.
LOGITS = torch.tensor([[0.5, 0.5, 1e-30], [0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]]).log()[None]
NATS = [math.log(2), 1.5 * math.log(2), math.log(3)]


def test_entropies_by_hand():
    assert entropy(LOGITS[-1]).tolist() == pytest.approx(NATS)
    shares = [nats / math.log(3) for nats in NATS]
    assert entropy(LOGITS[-1], normalised=True).tolist() == pytest.approx(shares)


def test_leaves_below_a_number_of_nats():
    assert Entropy(0.7).decides(LOGITS).tolist() == [1, 0, 0]
    assert Entropy(1.05).decides(LOGITS).tolist() == [1, 1, 0]


def test_nobody_leaves_at_the_strict_end_and_the_newest_exit_counts():
    assert at_point(Entropy(0.7), 0.0).decides(LOGITS).tolist() == [0, 0, 0]
    two = torch.cat([LOGITS, LOGITS.flip(1)])
    assert Entropy([0.1, 0.7], [3, 4]).decides(two).tolist() == [0, 0, 1]


def test_a_saturated_logit_has_no_entropy_and_not_nan():
    """p log p from probabilities is 0 x -inf there, and nobody would leave."""
    assert entropy(torch.tensor([1e4, 0.0, -1e4])).tolist() == 0
    assert Entropy(0.01).decides(torch.tensor([[[1e4, 0.0, -1e4]]])).tolist() == [1]


def test_margin_is_the_distance_from_the_threshold():
    expected = [abs(nats - 0.7) for nats in NATS]
    assert Entropy(0.7).margin(LOGITS).tolist() == pytest.approx(expected, abs=1e-6)
