"""The share of a vector that a head's weights do not see, beside its logits: CAP by hand."""

import math

import pytest
import torch
from models import ragged, tiny

from eat_lightning.methods.exit.cap import CertaintyAware, uncertainty, unseen_share
from eat_lightning.model.contracts import at_point
from eat_lightning.model.options import ALL_EXITS


def test_the_share_by_hand():
    """W sees the first two of three entries; without a bias z' is z."""
    weight_CD = torch.tensor([[2.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pooled_BD = torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0], [0.0, 0.0, 7.0]])
    found = unseen_share(pooled_BD, weight_CD, torch.zeros(2))
    assert found[:, 0].tolist() == pytest.approx([0.8, 0.0, 1.0], abs=1e-6)
    # b = (6, 0): W^+ b adds 3 to the first entry, (6, 0, 4).
    moved = unseen_share(pooled_BD[:1], weight_CD, torch.tensor([6.0, 0.0]))
    assert moved.item() == pytest.approx(4 / math.sqrt(52))


def test_weights_of_dependent_classes():
    """Two classes with opposite weights see one direction: 4 of 3, 4."""
    weight_CD = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = unseen_share(torch.tensor([[3.0, 4.0]]), weight_CD, torch.zeros(2))
    assert found.item() == pytest.approx(0.8)


def test_the_uncertainty_is_the_appended_class():
    logits_BC, share_B1 = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5]])
    expected = math.e / (math.e + math.e + math.e**2)
    assert uncertainty(logits_BC, share_B1, alpha=2.0).item() == pytest.approx(expected)


def test_leaves_below_the_threshold():
    """Equal logits and no share: a third; logits of 4 beside it: below 0.02."""
    logits_EBC = torch.tensor([[[0.0, 0.0], [4.0, 0.0]]])
    signals_EBS = torch.zeros(1, 2, 1)
    assert CertaintyAware(0.1).decides(logits_EBC, signals_EBS).tolist() == [0, 1]
    assert CertaintyAware([0.34], [4]).decides(logits_EBC, signals_EBS).tolist() == [1, 1]
    assert at_point(CertaintyAware(), 0.0).decides(logits_EBC, signals_EBS).tolist() == [0, 0]


def test_it_reads_the_weights_that_the_encoder_has_now():
    """Weights that were loaded after the rule was made count, and a twin reads the same ones."""
    encoder, seen = tiny(exit="cap"), []
    encoder.heads["4"].classes.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        encoder.heads["4"].classes.weight.copy_(torch.eye(3, 16))
        encoder.heads["4"].classes.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    for one in (encoder, encoder.replacing(exit=CertaintyAware(0.2, [3, 4]))):
        found_B = one(ragged(), ALL_EXITS).signals[4][:, 0]
        z_BD = seen[-1] + torch.eye(3, 16)[0] - torch.eye(3, 16)[2]  # W^+ b is b itself
        outside_B = (z_BD[:, 3:].square().sum(1) / z_BD.square().sum(1)).sqrt()
        torch.testing.assert_close(found_B, outside_B, atol=1e-5, rtol=1e-5)
