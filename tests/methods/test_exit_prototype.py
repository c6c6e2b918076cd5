"""Distances to class prototypes beside the entropy: DE3-BERT's formulas by hand."""

import math

import pytest
import torch
from models import packed, ragged, tiny, tiny_shape

from eat_lightning.methods.exit.prototype import PrototypeDistance, distance_ratio, harmonic
from eat_lightning.model.contracts import at_point
from eat_lightning.model.training import Context


def test_the_ratio_by_hand():
    """Own 1 and nearest other 4; own 4 and other 1; on the own prototype; half-way."""
    distance_BC = torch.tensor([[1.0, 4.0, 9.0], [4.0, 1.0, 9.0], [0.0, 3.0, 3.0], [2.0, 2.0, 5.0]])
    ratio_B = distance_ratio(distance_BC, torch.zeros(4).long())
    assert ratio_B.tolist() == pytest.approx([1 / 8, 7 / 8, 0, 1 / 2])


def test_the_mean_by_hand():
    ratio_B, entropy_B = torch.tensor([0.25, 0.25, 0.0, 0.0]), torch.tensor([0.5, 1.0, 0.5, 0.0])
    once, twice = (harmonic(ratio_B, entropy_B, share).tolist() for share in (1.0, 2.0))
    assert once == pytest.approx([2 / (4 + 2), 2 / (4 + 1), 0, 0])
    assert twice == pytest.approx([3 / (8 + 2), 3 / (8 + 1), 0, 0])


def test_leaves_below_the_threshold():
    # Equal probabilities: entropy 1. Ratios 1/8 and 7/8: means 2/9 and 14/15.
    logits_EBC, signals_EBS = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 4.0], [4.0, 1.0]]])
    assert PrototypeDistance(0.23).decides(logits_EBC, signals_EBS).tolist() == [1, 0]
    assert PrototypeDistance(0.22).decides(logits_EBC, signals_EBS).tolist() == [0, 0]
    assert PrototypeDistance([0.94], [4]).decides(logits_EBC, signals_EBS).tolist() == [1, 1]
    assert at_point(PrototypeDistance(), 0.0).decides(logits_EBC, signals_EBS).tolist() == [0, 0]


def test_distances_in_the_space_of_the_layer():
    made = PrototypeDistance(width=2)
    made.bind(tiny_shape(hidden_size=2), [4, 6], 2)
    with torch.no_grad():
        made.space["4"].weight.copy_(torch.eye(2))
        made.space["4"].bias.zero_()
        made.prototypes["4"].copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
    at_BD = torch.tensor([[3.0, 4.0]])
    found = made.observe(packed([[0.0, 0.0]], [1]), at_BD, torch.zeros(1, 2), 4)
    assert found.tolist() == [pytest.approx([5.0, 4.0])]


def test_the_space_learns_to_bring_examples_to_their_prototype():
    made = PrototypeDistance(weight=2.0, pull=0.1)
    context = Context(
        {4: torch.zeros(1, 2)}, torch.tensor([0]), 6, signals={4: torch.tensor([[1.0, 2.0]])}
    )
    expected = 2 * (math.log(1 + math.exp(1 - 4)) + 0.1 * 1)
    assert made.penalties(context)["exit_signal"].tolist() == pytest.approx([expected])
    encoder = tiny("dense", "none", "prototype").train()
    trace = encoder(ragged())
    context = Context(trace.guesses, torch.arange(5) % 3, 6, signals=trace.signals)
    encoder.exit.penalties(context)["exit_signal"].sum().backward()
    for learned in (encoder.exit.prototypes["3"], encoder.layers[0].up.weight):
        assert learned.grad.abs().sum() > 0
