"""DynaBERT: sorting changes nothing, sub-networks are the narrower encoders, the loss by hand."""

import math

import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.export.narrow import narrowed
from eat_lightning.methods.objective._importance import importance
from eat_lightning.methods.objective.dynabert import DynaBert
from eat_lightning.model.encoder import with_weights
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.training import Context
from eat_lightning.model.widths import in_order


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
