"""Everybody leaves at one layer."""

import pytest
import torch
from models import ragged, tiny

from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.model.method import argument_faults
from eat_lightning.model.options import ALL_EXITS
from eat_lightning.model.specification import Specification


def test_everybody_leaves_there_whatever_they_say():
    encoder, batch = tiny(exit="fixed"), ragged()
    trace = encoder(batch)
    assert trace.depth_B.tolist() == [4] * 5
    assert (trace.tokens_LB[4:] == 0).all()
    whole = encoder(batch, ALL_EXITS)
    torch.testing.assert_close(trace.logits_BC, whole.guesses[4])


def test_it_has_no_knob_and_is_named_by_its_layer():
    assert Fixed(3).knob is None
    assert (Specification.of("exit", Fixed(3)), Fixed(3).layers) == (
        Specification("exit", "fixed", {"layer": 3}),
        [3],
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [(-1, r"in 0..6, got -1"), (7, r"in 0..6, got 7"), ("x", r"hold whole numbers, got 'x'")],
)
def test_the_layer_is_one_of_the_encoders(layer, message):
    (fault,) = argument_faults(Fixed, 6, layer=layer)
    assert fault == f"exit.layer must {'be ' if layer != 'x' else ''}{message}"
