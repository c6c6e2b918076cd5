"""No early exit."""

import torch
from models import ragged, tiny

from eat_lightning.methods.exit.never import Never
from eat_lightning.model.reason import Reason


def test_nobody_leaves_early():
    assert Never().decides(torch.full((2, 3, 4), 1e9)).tolist() == [Reason.STAYS] * 3
    trace = tiny()(ragged())
    assert trace.depth_B.tolist() == [6] * 5
    assert trace.reason_B.tolist() == [Reason.LAST_LAYER] * 5
