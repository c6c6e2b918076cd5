"""LayerDrop: a step leaves out layers by chance, and afterwards they are all there."""

import pytest
import torch
from helpers.models import tiny
from test_stages import STEPS, fit

from eat_lightning.methods.schedule.anneal import Anneal
from eat_lightning.train.module import dropped_layers, step_seed

pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_a_step_leaves_out_does_not_move():
    encoder = tiny(layerdrop=0.5, dropout=0.0)
    watch, met = fit(encoder, Anneal(0, 0)), set()
    for step in range(1, STEPS):
        torch.manual_seed(step_seed(1, step, 0))
        gone = dropped_layers(encoder.shape)
        moved = watch.moved(step, step + 1)
        assert {k for k in range(1, 7) if f"layers.{k - 1}.up.weight" not in moved} == gone
        met |= gone
    assert met == {1, 2, 3, 4, 5, 6}
