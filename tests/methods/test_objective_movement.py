"""Movement pruning: masks by hand, and the straight-through gradient."""

import torch
from helpers.models import tiny

from eat_lightning.methods.objective.movement import Movement, masked_top, matrices_of


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
