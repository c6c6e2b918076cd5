"""PoWER-BERT: learned masses of ranks, by hand."""

import pytest
import torch
from helpers.models import packed, tiny_shape

from eat_lightning.methods.reduction.power_bert import PowerBert
from eat_lightning.model.evidence import Evidence

# Received minus own: 0 .1 .9 .5 | 0 .2
SEEN = Evidence(
    received_N=torch.tensor([1.0, 0.2, 1.0, 0.8, 1.0, 0.4]),
    diagonal_N=torch.tensor([1.0, 0.1, 0.1, 0.3, 1.0, 0.2]),
)
LENGTHS = [4, 2]


def bound(masses: list[float], **changes) -> PowerBert:
    """Retention of the first ranks; the rest 0."""
    made = PowerBert(**{"layers": [1, 2], **changes})
    made.bind(tiny_shape(), [6], 3)
    with torch.no_grad():
        made.retention.zero_()
        made.retention[:, : len(masses)] = torch.tensor(masses)
    return made


def rows(strength: float = 1.0):
    given = packed([[1.0 + i] for i in range(6)], LENGTHS, strength)
    given.original_B = torch.tensor(LENGTHS)
    return given


@pytest.mark.parametrize(
    ("masses", "changes", "strength", "kept"),
    [
        ([1.0, 1.0, 0.0, 0.0], {}, 1.0, [1, 3, 5, 6]),  # [CLS] and the best other of four
        ([1.0, 0.5, 0.1, 0.0], {}, 1.0, [1, 3, 5, 6]),  # ceil(1.6), of two tokens ceil(1.5)
        ([0.0], {}, 1.0, [1, 5]),  # never less than [CLS]
        ([1.0, 1.0, 0.0, 0.0], {"extent": 0.5}, 1.0, [1, 3, 4, 5, 6]),
        ([1.0, 1.0, 0.0, 0.0], {"extent": 0.0}, 1.0, [1, 2, 3, 4, 5, 6]),
        ([1.0, 1.0, 0.0, 0.0], {}, 0.0, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_who_stays(masses: list, changes: dict, strength: float, kept: list[float]):
    made = bound(masses, **changes)
    assert made(rows(strength), SEEN, 1).x_ND.flatten().tolist() == kept


def test_counts_are_of_the_original_tokens_and_never_grow():
    made = bound([1.0, 1.0, 0.0, 0.0])
    shorter = made(rows(), SEEN, 1)
    again = Evidence(received_N=torch.ones(4), diagonal_N=torch.zeros(4))
    assert made(shorter, again, 2).layout.lengths_B.tolist() == [2, 2]


def test_soft_extract_scales_a_row_by_its_rank():
    made = bound([1.0, 0.5, 0.25, 0.1], penalty=0.1)
    soft = made.soften(rows(), SEEN, 2)
    # Ranks of 0 .1 .9 .5 are 3 2 0 1, and of 0 .2 they are 1 0; [CLS] is scaled like any other.
    expected = [1 * 0.1, 2 * 0.25, 3 * 1.0, 4 * 0.5, 5 * 0.5, 6 * 1.0]
    assert soft.x_ND.flatten().tolist() == pytest.approx(expected)
    # lambda x layer x mass over the example's own ranks.
    assert soft.penalties["retention"].tolist() == pytest.approx([0.1 * 2 * 1.85, 0.1 * 2 * 1.5])


def test_parameters_begin_at_one_learn_and_stay_within_bounds():
    made = PowerBert(layers=[1])
    made.bind(tiny_shape(), [6], 3)
    assert (made.retention == 1).all()
    soft = made.soften(rows(), SEEN, 1)
    (soft.x_ND.sum() + soft.penalties["retention"].sum()).backward()
    assert (made.retention.grad[0, :4] != 0).all()
    with torch.no_grad():
        made.retention.add_(1).mul_(-1)
    made.after_step()
    assert (made.retention == 0).all()
