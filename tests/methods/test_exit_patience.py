"""PABEE's patience, by hand."""

import pytest
import torch

from eat_lightning.methods.exit.patience import Patience

GO, STAY = 1, 0


def decides(rule: Patience, *answers: list[int]) -> list[int]:
    """What the rule says at the last of some exits, by each example's answers there."""
    return rule.decides(torch.nn.functional.one_hot(torch.tensor(answers), 3).float()).tolist()


def test_the_papers_variant_needs_two_equal_answers():
    rule = Patience(1, [3, 4])
    assert decides(rule, [0, 1, 2]) == [STAY, STAY, STAY]
    assert decides(rule, [0, 1, 2], [0, 2, 2]) == [GO, STAY, GO]


def test_patience_counts_agreements_in_a_row():
    rule = Patience(2, [1, 2, 3, 4, 5])
    first, second = [0, 0, 1, 2], [0, 0, 0, 2]
    assert decides(rule, first) == [STAY] * 4
    assert decides(rule, first, second) == [STAY] * 4
    third = [0, 1, 0, 2]
    assert decides(rule, first, second, third) == [GO, STAY, STAY, GO]
    fourth = [1, 1, 0, 0]
    assert decides(rule, first, second, third, fourth) == [STAY, STAY, GO, STAY]
    fifth = [1, 1, 1, 0]
    assert decides(rule, first, second, third, fourth, fifth) == [STAY, GO, STAY, STAY]


def test_margin_is_the_smallest_lead():
    """Leads of 0.6 (0.8 to 0.2) and 0.2 (0.6 to 0.4) at the two exits compared."""
    logits = torch.tensor([[[1.0, 1.0]], [[4.0, 1.0]], [[3.0, 2.0]]]).log()
    assert Patience(layers=[2, 3, 4]).margin(logits).tolist() == pytest.approx([0.2])
