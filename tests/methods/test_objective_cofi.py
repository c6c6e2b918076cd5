"""CoFi: gates by hand, and the encoder that is cut equals the one with gates."""

import math

import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.export.narrow import narrowed
from eat_lightning.methods.objective.cofi import CoFi, final_gates, open_chance
from eat_lightning.model.encoder import with_weights
from eat_lightning.model.training import Context
from eat_lightning.model.widths import living
from eat_lightning.train.callbacks.bake_weights import bake_weights


def bound(encoder, **given) -> CoFi:
    objective = CoFi(**given)
    objective.bind(encoder.shape, None)
    return objective


def with_zero_one_gates(objective: CoFi) -> None:
    """Head 0 of layers 1 and 2 is shut, and so are all neurons of layer 6 but the last four."""
    with torch.no_grad():
        for gates in (*objective.heads, *objective.inner):
            gates.fill_(4.6)
        objective.heads[0][0] = objective.heads[1][0] = -4.6
        objective.inner[5][:20] = -4.6


def test_a_gate_by_hand():
    """At log alpha 0: 1 / (1 + exp(2/3 ln(0.1 / 1.1))) open, 0.5 x 1.2 - 0.1 at its mean."""
    zero_H = torch.zeros(3)
    chance = 1 / (1 + math.exp(2 / 3 * math.log(0.1 / 1.1)))
    torch.testing.assert_close(open_chance(zero_H), torch.full((3,), chance))
    # 3 x 0.832 is 2.5, so two stay: of equal ones the first.
    torch.testing.assert_close(final_gates(zero_H), torch.tensor([0.5, 0.5, 0.0]))
    assert final_gates(torch.full((3,), -9.0)).tolist() == [0.0, 0.0, 0.0]
    assert final_gates(torch.tensor([4.6, -4.6])).tolist() == [1.0, 0.0]


def test_expected_size_by_hand():
    """A head costs 4 x 16 x 4 weights, a neuron 2 x 16."""
    objective = bound(tiny())
    with torch.no_grad():
        for gates in objective.heads:
            gates.fill_(40.0)
        for gates in objective.inner:
            gates.fill_(-40.0)
    heads, inner = 6 * 4 * 256, 6 * 24 * 32
    assert objective._gone().item() == pytest.approx(inner / (heads + inner))


def test_the_loss_by_hand():
    encoder = tiny()
    objective = bound(encoder, sparsity=0.6)
    with torch.no_grad():
        objective.multipliers.copy_(torch.tensor([2.0, 3.0]))
    guesses = {6: torch.zeros(2, 3, requires_grad=True)}
    labels_B = torch.tensor([0, 1])
    shut = 1 - 1 / (1 + math.exp(2 / 3 * math.log(0.1 / 1.1)))  # as many as are shut at first
    over = shut - (shut + 0.5 * (0.6 - shut))
    found = objective(Context(guesses, labels_B, 6, strength=0.5))
    wanted = 2 * math.log(3) + 2 * (2 * over + 3 * over**2)
    assert found.total.item() == pytest.approx(wanted)
    assert "size" not in objective(Context(guesses, labels_B, 6, strength=0.0)).parts
    found.total.backward()
    assert objective.heads[0].grad.abs().sum() > 0


def test_the_cut_encoder_equals_the_gated_one():
    encoder, batch = tiny(), ragged()
    objective = bound(encoder)
    with_zero_one_gates(objective)
    whole_BC = encoder(batch).logits_BC
    gated_BC = with_weights(encoder, objective.effective_weights(encoder), batch).logits_BC
    assert not torch.allclose(gated_BC, whole_BC)
    bake_weights(objective, encoder)
    torch.testing.assert_close(encoder(batch).logits_BC, gated_BC)
    made = narrowed(encoder, living(encoder))
    assert made.shape.heads_by_layer == (3, 3, 4, 4, 4, 4)
    assert made.shape.inner_by_layer == (24, 24, 24, 24, 24, 4)
    torch.testing.assert_close(made(batch).logits_BC, gated_BC)
    assert objective.summary(encoder)[0].startswith(
        "cofi: 22 of 24 heads and 124 of 144 inner neur"
    )
