"""A classifier of consistency: what it reads, what it learns, and when it lets go."""

import math

import pytest
import torch
from models import packed, ragged, tiny, tiny_shape

from eat_lightning.methods.exit.cats import MetaConsistency
from eat_lightning.model.contracts import at_point
from eat_lightning.model.training import Context

LOGITS = torch.zeros(2, 3, 2)
SIGNALS = torch.tensor([[[0.9], [0.9], [0.9]], [[0.5], [0.79], [0.8]]])


def test_leaves_where_the_last_layer_likely_agrees():
    assert MetaConsistency(0.8, [3, 4]).decides(LOGITS, SIGNALS).tolist() == [0, 0, 1]
    assert MetaConsistency([0.99, 0.6], [3, 4]).decides(LOGITS, SIGNALS).tolist() == [0, 1, 1]
    assert at_point(MetaConsistency(0.8, [3, 4]), 1.0).decides(LOGITS, SIGNALS).sum() == 0


def test_it_reads_the_vector_the_class_and_how_sure_it_is():
    made = MetaConsistency(width=1)
    made.bind(tiny_shape(hidden_size=2), [4, 6], 3)
    first, _, last = made.meta["4"]
    with torch.no_grad():
        # Two of the vector, three of the class, largest probability, lead.
        first.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.5, 0.0, 2.0, 4.0]]))
        first.bias.zero_()
        last.weight.fill_(1.0)
        last.bias.zero_()
    logits_BC = torch.tensor([[0.1, 0.5, 0.4]]).log()
    (read,) = made.observe(packed([[0.0, 0.0]], [1]), torch.tensor([[0.3, 9.0]]), logits_BC, 4)
    expected = 1 / (1 + math.exp(-math.tanh(0.3 + 0.5 + 2 * 0.5 + 4 * 0.1)))
    assert read.tolist() == pytest.approx([expected])


def test_it_learns_to_agree_with_the_last_layer_whatever_the_label():
    made = MetaConsistency(weight=2.0)
    one, other = [2.0, 0.0], [0.0, 2.0]
    last_BC = torch.tensor([one, one])
    guesses = {4: torch.tensor([one, other]), 6: last_BC}
    signals = {4: torch.tensor([[0.9], [0.25]]), 6: torch.tensor([[0.1], [0.1]])}
    context = Context(guesses, torch.tensor([1, 1]), 6, signals=signals, full_BC=last_BC)
    expected = [-2 * math.log(0.9), -2 * math.log(0.75)]
    assert made.penalties(context)["exit_signal"].tolist() == pytest.approx(expected)


def test_only_the_classifiers_learn_by_it():
    encoder = tiny("dense", "none", "cats").train()
    trace = encoder(ragged())
    context = Context(
        trace.guesses, torch.zeros(5).long(), 6, signals=trace.signals, full_BC=trace.guesses[6]
    )
    encoder.exit.penalties(context)["exit_signal"].sum().backward()
    moved = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert moved == {f"exit.meta.{k}.{i}.{p}" for k in (3, 4) for i in (0, 2) for p in NAMES}


NAMES = ("weight", "bias")
