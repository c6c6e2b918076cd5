"""Movement pruning: masks by hand, the straight-through gradient, and zeros that stay."""

import pytest
import torch
from models import ragged, tiny

from eat_lightning.methods.objective.movement import Movement, masked_top, matrices_of
from eat_lightning.model.effective import bake_weights, with_weights
from eat_lightning.weights.checkpoint import load_model, save_model


def bound(encoder, **given) -> Movement:
    objective = Movement(**given)
    objective.bind(encoder.shape, None)
    torch.manual_seed(0)
    with torch.no_grad():
        for score in objective.scores:
            score.normal_()
    return objective


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
    objective = bound(encoder, keep=0.25)
    encoder.strength.fill_(0.5)  # 1 - 0.75 / 2 stay
    made = objective.effective_weights(encoder)
    assert [*made] == [*matrices_of(encoder)]
    query, key, value = made["layers.3.qkv.weight"].chunk(3)
    assert (query == 0).sum() == (key == 0).sum() == (value == 0).sum() == 16 * 16 * 0.375


def test_zeros_stay_in_what_is_saved(tmp_path):
    encoder, batch = tiny(), ragged()
    objective = bound(encoder, keep=0.1)
    masked_BC = with_weights(encoder, objective.effective_weights(encoder), batch).logits_BC
    bake_weights(objective, encoder)
    save_model(encoder, ["a", "b", "c"], tmp_path)
    loaded, _ = load_model(tmp_path)
    torch.testing.assert_close(loaded(batch).logits_BC, masked_BC)
    for weight in matrices_of(loaded).values():
        assert (weight == 0).float().mean().item() == pytest.approx(0.9, abs=0.01)
    (line,) = objective.summary(loaded)
    assert line.startswith("movement: 90")
    assert "no time" in line
