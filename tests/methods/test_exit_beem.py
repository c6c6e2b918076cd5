"""Experts whose confidences add up, by hand."""

import pytest
import torch
from odds import guesses

from eat_lightning.methods.exit.beem import Beem
from eat_lightning.methods.exit.patience import Patience

EXITS = guesses([0.8, 0.8], [0.9, 0.1], [0.6, 0.3])


def test_scores_add_up_while_exits_agree():
    """Weights 0.2, 0.3 and 0.4 of layers 2, 3 and 4; the second example's class changes once."""
    rule = Beem(layers=[2, 3, 4])
    assert rule._score(EXITS[:1]).tolist() == pytest.approx([0.16, 0.16])
    assert rule._score(EXITS[:2]).tolist() == pytest.approx([0.16 + 0.27, 0.27])
    assert rule._score(EXITS).tolist() == pytest.approx([0.43 + 0.24, 0.27 + 0.28])


def test_it_leaves_where_the_score_reaches_alpha():
    rule = Beem([0.15, 0.4, 0.6], [2, 3, 4])
    assert [rule.decides(EXITS[:e]).tolist() for e in (1, 2, 3)] == [[1, 1], [1, 0], [1, 0]]


def test_margin_is_the_least_distance():
    """Scores 0.67 and 0.55 from 0.6; the least leads are 0.2 and 0.4."""
    assert Beem(0.6, [2, 3, 4]).margin(EXITS).tolist() == pytest.approx([0.07, 0.05])


def test_as_released_it_is_patience():
    torch.manual_seed(0)
    logits_EBC = torch.randn(4, 64, 2)
    for patience in (1, 2, 3):
        rule = Beem(float(patience), [1, 2, 3, 4], released=True)
        same = Patience(patience, [1, 2, 3, 4])
        for count in range(1, 5):
            found_B = rule.decides(logits_EBC[:count])
            assert found_B.tolist() == same.decides(logits_EBC[:count]).tolist()
