"""Leaving by the lead of the likeliest class, by hand."""

import pytest
import torch

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.margin import Margin

# Leads of 0.1 (0.5, 0.4), 0.15 (0.45, 0.3) and 0.9 (0.95, 0.05).
LOGITS = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.45, 0.25], [0.95, 0.05, 1e-30]]).log()[None]


def test_the_lead_counts_and_not_the_largest_probability():
    assert Margin(0.14).decides(LOGITS).tolist() == [0, 1, 1]
    assert Confidence(0.48).decides(LOGITS).tolist() == [1, 0, 1]


def test_on_two_classes_it_is_confidence():
    logits = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Margin(0.4).decides(logits), Confidence(0.7).decides(logits))


def test_a_lead_for_each_exit_of_which_a_veto_knows_the_least():
    rule = Margin([0.95, 0.5], [3, 4])
    assert rule.decides(LOGITS).tolist() == [0, 0, 0]
    assert rule.decides(torch.cat([LOGITS, LOGITS])).tolist() == [0, 0, 1]
    assert (rule.least_lead, Margin(0.3).least_lead) == (0.5, 0.3)


def test_margin_is_the_distance_from_the_threshold():
    assert Margin(0.3).margin(LOGITS).tolist() == pytest.approx([0.2, 0.15, 0.6], abs=1e-6)
