"""TinyBERT: vectors layer by layer, by hand."""

import math

import pytest
import torch
from helpers.models import packed

from eat_lightning.methods.objective.hidden_distillation import HiddenDistillation, score_error
from eat_lightning.model.inside import Scores
from eat_lightning.model.packed import Packed
from eat_lightning.model.training import Context


class Student:
    num_layers, hidden_size = 2, 1


class Teacher:
    num_layers, hidden_size = 4, 2


def bound(**given) -> HiddenDistillation:
    """The projection of x is (x, 2x)."""
    objective = HiddenDistillation(**given)
    objective.bind(Student(), Teacher())
    with torch.no_grad():
        objective.projection.weight.copy_(torch.tensor([[1.0], [2.0]]))
        objective.projection.bias.zero_()
    return objective


def context(student_N: list[float], taken: tuple[list[int], list[int]]) -> Context:
    """Two examples of 3 and 1 tokens; the student keeps the rows taken, with their positions."""
    rows = packed([[x] for x in (0.0, 1.0, 2.0, 3.0)], [3, 1])
    kept = rows.take(torch.tensor(taken[0]), torch.tensor(taken[1]))
    kept = kept.with_x(torch.tensor(student_N)[:, None].requires_grad_())
    teacher = packed([[x, 2 * x] for x in (0.0, 1.0, 2.0, 3.0)], [3, 1])
    other = teacher.with_x(torch.full((4, 2), 9.0))
    return Context(
        guesses={2: torch.zeros(2, 2, requires_grad=True)},
        labels_B=torch.tensor([0, 1]),
        last=2,
        teacher_BC=torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]]),
        hidden={0: rows, 1: kept, 2: rows},
        teacher_hidden={0: teacher, 1: other, 2: teacher, 3: other, 4: other},
    )


def test_layers_are_mapped_evenly():
    assert bound().pairs == {0: 0, 1: 2, 2: 4}
    assert bound(layer_map={"1": 2}).pairs == {1: 2}


def test_squared_error_by_position():
    """Rows 0 and 2 are left of the first example: errors (1, 2) and (-2, -4), squared means 2.5 and
    10, mean of the tokens 6.25; the second example agrees."""
    objective = bound(layer_map={1: 2})
    found = objective(context([1.0, 0.0, 3.0], ([0, 2, 3], [2, 1])))
    assert found.parts["hidden"].item() == pytest.approx(6.25)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert found.parts["distill_2"].item() == pytest.approx(divergence)
    assert found.total.item() == pytest.approx(divergence + 6.25)  # no labels


def scores(rows: Packed, *maps: list[list[list[float]]]) -> Scores:
    """Of each example its heads' matrices, padded to the longest."""
    longest = max(len(heads[0]) for heads in maps)
    padded = torch.full((len(maps), len(maps[0]), longest, longest), 99.0)
    for b, heads in enumerate(maps):
        found = torch.tensor(heads)
        padded[b, :, : found.shape[1], : found.shape[2]] = found
    return Scores(rows, padded)


def test_attention_scores_by_position():
    """Two heads. Rows 0 and 2 are left of the first example: head 1 differs by 2 at one of four
    pairs, head 2 agrees: 4 / 4 / 2. The second example, of one token, differs by 3 in one head."""
    rows = packed([[x] for x in (0.0, 1.0, 2.0, 3.0)], [3, 1])
    kept = rows.take(torch.tensor([0, 2, 3]), torch.tensor([2, 1]))
    whole = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    theirs = scores(rows, [whole, whole], [[[5.0]], [[5.0]]])
    mine = scores(kept, [[[0.0, 2.0], [6.0, 10.0]], [[0.0, 2.0], [6.0, 8.0]]], [[[8.0]], [[5.0]]])
    assert score_error(mine, theirs).item() == pytest.approx(0.5 + 4.5)
