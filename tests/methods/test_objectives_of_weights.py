"""Objectives that shape the weights, by hand: the encoder that is cut equals the one with gates."""

import math
from typing import Any

import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.bundle.graphs.narrow import narrowed
from eat_lightning.methods.objective._importance import importance
from eat_lightning.methods.objective.cofi import CoFi, final_gates, open_chance
from eat_lightning.methods.objective.dynabert import DynaBert
from eat_lightning.methods.objective.movement import Movement, masked_top, matrices_of
from eat_lightning.model.encoder import AdaptiveEncoder, with_weights
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.training import Context
from eat_lightning.model.widths import in_order, living
from eat_lightning.train.callbacks.bake_weights import bake_weights


def bound(encoder: AdaptiveEncoder, objective: Any) -> Any:
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
    objective = bound(tiny(), CoFi())
    with torch.no_grad():
        for gates in objective.heads:
            gates.fill_(40.0)
        for gates in objective.inner:
            gates.fill_(-40.0)
    heads, inner = 6 * 4 * 256, 6 * 24 * 32
    assert objective._gone().item() == pytest.approx(inner / (heads + inner))


def test_the_loss_by_hand():
    encoder = tiny()
    objective = bound(encoder, CoFi(sparsity=0.6))
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
    objective = bound(encoder, CoFi())
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


def labelled():
    batch = ragged()
    batch.labels_B = torch.arange(batch.size) % 3
    return batch


def test_sorting_changes_no_answer():
    encoder, batch = tiny(), labelled()
    before_BC = encoder(batch).logits_BC
    DynaBert().begin(encoder, [batch])
    torch.testing.assert_close(encoder(batch).logits_BC, before_BC)
    found = importance(encoder, [batch])
    assert (found.heads_LH.diff(dim=1) <= 1e-6).all()
    assert (found.inner_LF.diff(dim=1) <= 1e-6).all()
    first = encoder.layers[0].up.weight.clone()
    DynaBert(depths=[1.0, 0.5]).begin(encoder, [batch])  # it comes sorted
    assert torch.equal(encoder.layers[0].up.weight, first)


def test_a_pass_is_that_of_the_narrower_encoder():
    """Widths 1, 0.5 by depths 1, 0.5: the last of the passes is half of both."""
    encoder, batch = tiny(), ragged()
    objective = DynaBert(widths=[0.5, 1.0], depths=[1.0, 0.5])
    assert objective._pairs == [(1.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, 0.5)]
    half = objective.passes(0, encoder)[1]
    assert half.skips == {2, 4, 6}
    options = PassOptions(skips=half.skips)
    found_BC = with_weights(encoder, half.weights, batch, options).logits_BC
    made = narrowed(encoder, in_order(encoder, 2, 12, 3))
    torch.testing.assert_close(found_BC, made(batch).logits_BC)


def test_losses_are_added_up():
    """The whole one agrees with the teacher, the half answers 1/2 1/2 where it says 3/4 1/4."""
    even, tilted = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    objective = DynaBert(widths=[1.0, 0.5], hidden=0.0, label_weight=2.0)
    given = {"passes": [{6: even}], "hidden_passes": [{}], "teacher_BC": tilted}
    found = objective(Context({6: tilted}, torch.tensor([0]), 6, **given))
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert found.parts["distill_6"].item() == pytest.approx(divergence)
    labelled = 2 * (math.log(4 / 3) + math.log(2))
    assert found.total.item() == pytest.approx(divergence + labelled)


def test_vectors_are_held_against_the_teachers_at_the_same_width():
    encoder = tiny()
    options = PassOptions(leave=False, keep_hidden=True)
    objective = DynaBert(widths=[1.0, 0.5], depths=[1.0, 0.5], hidden=1.0, distill=0.0)
    with torch.no_grad():
        whole = encoder(ragged(), options)
        (lesson,) = objective.lessons(encoder)
        taught = with_weights(encoder, lesson.weights, ragged(), options)
    pairs = {(1.0, 1.0): whole, (1.0, 0.5): whole, (0.5, 1.0): taught, (0.5, 0.5): taught}
    shown = [pairs[pair] for pair in objective._pairs]
    context = Context(
        guesses=whole.guesses,
        labels_B=torch.zeros(5, dtype=torch.long),
        last=6,
        hidden=whole.inside.hidden,
        teacher_hidden=whole.inside.hidden,
        passes=[trace.guesses for trace in shown[1:]],
        hidden_passes=[trace.inside.hidden for trace in shown[1:]],
        teacher_passes=[taught],
    )
    assert objective(context).total.item() == pytest.approx(0.0, abs=1e-6)
    released = DynaBert(
        widths=[1.0, 0.5], depths=[1.0, 0.5], hidden=1.0, distill=0.0, released=True
    )
    assert released.lessons(encoder) == []  # the full width teaches
    context.teacher_passes = []
    assert released(context).total.item() > 0.01


def test_top_scores_by_hand():
    score = torch.tensor([[1.0, 4.0], [3.0, 2.0], [9.0, 8.0], [7.0, 6.0]])
    assert masked_top(score, 0.5, 1).tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert masked_top(score, 0.5, 2).tolist() == [[0, 1], [1, 0], [1, 1], [0, 0]]
    assert masked_top(score, 0.01, 1).sum() == 1
    assert masked_top(torch.zeros(4, 4), 0.25, 1).sum() == 4


def test_the_gradient_goes_straight_through():
    """dL/dS = dL/dW' W, for those that are masked as well."""
    score = torch.tensor([[0.2, 0.1]], requires_grad=True)
    weight = torch.tensor([[3.0, -5.0]], requires_grad=True)
    masked = weight * masked_top(score, 0.5, 1)
    assert masked.tolist() == [[3.0, 0.0]]
    (masked * torch.tensor([[7.0, 11.0]])).sum().backward()
    assert score.grad.tolist() == [[21.0, -55.0]]
    assert weight.grad.tolist() == [[7.0, 0.0]]


def test_the_share_follows_the_schedule():
    encoder = tiny()
    objective = bound(encoder, Movement(keep=0.25))
    torch.manual_seed(0)
    with torch.no_grad():
        for score in objective.scores:
            score.normal_()
    encoder.strength.fill_(0.5)  # 1 - 0.75 / 2 stay
    made = objective.effective_weights(encoder)
    assert [*made] == [*matrices_of(encoder)]
    query, key, value = made["layers.3.qkv.weight"].chunk(3)
    assert (query == 0).sum() == (key == 0).sum() == (value == 0).sum() == 16 * 16 * 0.375
