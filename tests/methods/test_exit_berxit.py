"""BERxiT: a learned signal decides; its loss is the squared error to being wrong."""

import pytest
import torch
from models import ragged, tiny, tiny_shape

from eat_lightning.methods.exit.berxit import LearningToExit
from eat_lightning.model.contracts import at_point
from eat_lightning.model.training import Context

LOGITS = torch.zeros(2, 3, 2)
SIGNALS = torch.tensor([[[0.3], [0.1], [0.0]], [[0.3], [0.19], [0.21]]])


def test_leaves_below_the_threshold_at_the_last_exit():
    assert LearningToExit(0.2, [3, 4]).decides(LOGITS, SIGNALS).tolist() == [0, 1, 0]
    assert LearningToExit([0.2, 0.31], [3, 4]).decides(LOGITS, SIGNALS).tolist() == [1, 1, 1]
    assert at_point(LearningToExit(0.2, [3, 4]), 0.0).decides(LOGITS, SIGNALS).sum() == 0


def test_one_regressor_for_all_exits_trains_into_the_body():
    made = LearningToExit(weight=2.0)
    made.bind(tiny_shape(), [4, 6], 2)
    guesses = {4: torch.tensor([[2.0, 0.0], [2.0, 0.0]]), 6: torch.tensor([[2.0, 0.0], [0.0, 2.0]])}
    signals = {4: torch.tensor([[0.25], [0.5]]), 6: torch.tensor([[0.0], [0.1]])}
    context = Context(guesses, torch.tensor([0, 1]), 6, signals=signals)
    # Wrong: at 4 the second, at 6 none.
    expected = [2 * (0.25**2 + 0), 2 * (0.5**2 + 0.1**2)]
    assert made.penalties(context)["exit_signal"].tolist() == pytest.approx(expected)
    encoder = tiny("dense", "none", "berxit").train()
    trace = encoder(ragged())
    terms = encoder.exit.penalties(
        Context(trace.guesses, torch.tensor([0, 1, 2, 0, 1]), 6, signals=trace.signals)
    )
    terms["exit_signal"].sum().backward()
    assert encoder.exit.regressor.weight.grad.abs().sum() > 0
    assert encoder.layers[0].up.weight.grad.abs().sum() > 0
