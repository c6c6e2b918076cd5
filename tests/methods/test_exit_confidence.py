"""Leaving by confidence, by hand."""

import pytest
import torch
from odds import guesses

from eat_lightning.methods.exit.confidence import Confidence

SURE, UNSURE = 1, 0


def test_the_largest_probability_counts():
    decided = Confidence(tau=0.9).decides(guesses([0.91, 0.89, 0.05, 0.5]))
    assert decided.tolist() == [SURE, UNSURE, SURE, UNSURE]


def test_tau_itself_is_enough_and_1_is_for_nobody():
    """A saturated probability is 1 too, and at the knob's strict end all run every layer."""
    saturated = torch.tensor([[[200.0, 0.0]]])
    assert Confidence(tau=0.5).decides(torch.zeros(1, 1, 2)).tolist() == [SURE]
    assert Confidence(tau=0.999).decides(saturated).tolist() == [SURE]
    assert Confidence(tau=1.0).decides(saturated).tolist() == [UNSURE]
    assert Confidence(tau=[1.0, 0.9], layers=[2, 4]).decides(saturated).tolist() == [UNSURE]


def test_only_the_newest_guess_counts():
    decided = Confidence(0.9, [3, 4]).decides(guesses([0.99, 0.6], [0.6, 0.99]))
    assert decided.tolist() == [UNSURE, SURE]


def test_probabilities_in_fp32():
    """The probability of these bf16 logits is 0.7994; bf16 would round it to 0.8008."""
    logits = torch.tensor([[[1.3828125, 0.0]]]).bfloat16()
    assert logits.softmax(-1).max() >= 0.8
    assert Confidence(tau=0.8).decides(logits).tolist() == [UNSURE]


def test_margin_is_the_distance_from_tau():
    """Odds 4 : 1 and 1 : 1 are confidences of 0.8 and 0.5, tau is 0.7."""
    logits = torch.tensor([[[4.0, 1.0], [1.0, 1.0]]]).log()
    assert Confidence(tau=0.7).margin(logits).tolist() == pytest.approx([0.1, 0.2])
