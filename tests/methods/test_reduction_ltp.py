"""LTP: thresholds on the mean attention received, by hand; soft gates that learn; hard drops."""

import pytest
import torch
from helpers.models import packed, tiny_shape

from eat_lightning.methods.reduction.ltp import LearnedTokenPruning
from eat_lightning.model.evidence import Evidence

RECEIVED = Evidence(received_N=torch.tensor([1.0, 0.4, 1.6, 1.0, 0.9, 0.1]))
LENGTHS = [4, 2]  # means over t: .25 .1 .4 .25 | .45 .05; the last of each is [SEP]


def bound(**changes) -> LearnedTokenPruning:
    made = LearnedTokenPruning(**{"layers": [1, 5], **changes})
    made.bind(tiny_shape(), [6], 3)
    return made


def rows(strength: float = 1.0):
    return packed([[float(i)] for i in range(6)], LENGTHS, strength)


def test_thresholds_rise_with_the_layer_and_are_learned():
    made = bound(final=0.3)
    assert [made._threshold(layer).item() for layer in (1, 5)] == pytest.approx([0.0, 0.2])
    with torch.no_grad():
        made.delta[1] = 0.05
    assert made._threshold(5).item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("changes", "strength", "kept"),
    [
        ({}, 1.0, [0, 2, 3, 4, 5]),  # 0.1 is below 0.2; [SEP] is protected
        ({"protect_sep": False}, 1.0, [0, 2, 3, 4]),
        ({"scale": 1.5}, 1.0, [0, 2, 3, 4, 5]),  # [CLS] of 0.25 stays below 0.3 too
        ({"scale": 0.0}, 1.0, [0, 1, 2, 3, 4, 5]),
        ({"scale": 0.4}, 1.0, [0, 1, 2, 3, 4, 5]),
        ({}, 0.0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_who_stays(changes: dict, strength: float, kept: list[int]):
    made = bound(final=0.3, **changes)  # at layer 5 of 6: 0.2
    assert made(rows(strength), RECEIVED, 5).x_ND.flatten().tolist() == kept


def test_a_soft_gate_by_hand():
    made = bound(final=0.3, temperature=0.1, penalty=0.5)
    soft = made.soften(rows(), RECEIVED, 5)
    gates = torch.sigmoid((torch.tensor([0.25, 0.1, 0.4, 0.25, 0.45, 0.05]) - 0.2) / 0.1)
    gates[0] = gates[4] = 1.0  # [CLS]
    torch.testing.assert_close(soft.x_ND.flatten(), torch.arange(6.0) * gates)
    torch.testing.assert_close(
        soft.penalties["gates"], 0.5 * torch.stack([gates[:4].mean(), gates[4:].mean()])
    )
