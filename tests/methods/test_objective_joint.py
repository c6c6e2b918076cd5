"""EAT's loss, by hand."""

import math

import pytest
import torch

from eat_lightning.methods.objective.joint import Joint
from eat_lightning.model.training import Context

EVEN, TILTED = [0.0, 0.0], [math.log(3.0), 0.0]  # probabilities 1/2 1/2 and 3/4 1/4
GUESSES = {4: torch.tensor([EVEN, TILTED]), 6: torch.tensor([TILTED, TILTED])}
LABELS = torch.tensor([0, 1])
CE_4 = math.log(2) + math.log(4)
CE_6 = math.log(4 / 3) + math.log(4)
# KL of 1/2 1/2 from 3/4 1/4
KL = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)


def loss(objective: Joint, teacher=None, guesses=None, labels=LABELS, penalties=None):
    guesses = guesses or GUESSES
    context = Context(guesses, labels, max(guesses), teacher, penalties=penalties or {})
    return objective(context)


def test_cross_entropy_of_every_exit():
    found = loss(Joint())
    assert found.total.item() == pytest.approx(0.3 * CE_4 + CE_6)
    assert found.parts["exit_4"].item() == pytest.approx(CE_4)
    assert found.parts["exit_6"].item() == pytest.approx(CE_6)


def test_distillation_into_the_last_exit():
    teacher_BC = torch.tensor([EVEN, TILTED])  # the second example agrees: no divergence
    found = loss(Joint(distill=0.5, teacher_temperature=1.0), teacher_BC)
    assert found.parts["distill_6"].item() == pytest.approx(KL)
    assert found.total.item() == pytest.approx(0.3 * CE_4 + CE_6 + 0.5 * KL)
    assert "distill_4" not in found.parts


def test_distillation_temperature():
    """Logits of 2 log 3 at T = 2 are log 3, and T^2 = 4."""
    guesses = {6: torch.tensor([[2 * math.log(3.0), 0.0]])}
    objective = Joint(distill=1.0, teacher_temperature=2.0)
    found = loss(objective, torch.tensor([EVEN]), guesses, torch.tensor([0]))
    assert found.parts["distill_6"].item() == pytest.approx(4 * KL)
    assert found.total.item() == pytest.approx(math.log(10 / 9) + 4 * KL)


def test_distillation_into_all_exits():
    teacher_BC = torch.tensor([EVEN, EVEN])
    found = loss(Joint(distill=0.5, teacher_temperature=1.0, distill_into="all"), teacher_BC)
    assert found.parts["distill_4"].item() == pytest.approx(KL)
    assert found.parts["distill_6"].item() == pytest.approx(2 * KL)
    assert found.total.item() == pytest.approx(0.3 * CE_4 + CE_6 + 0.5 * (0.3 * KL + 2 * KL))


def test_gradient_is_that_of_the_definition():
    """Of cross-entropy: probability - label; of T^2 KL: T (student - teacher)."""
    guesses = {6: torch.tensor([EVEN], requires_grad=True)}
    teacher_BC = torch.tensor([[2 * math.log(3.0), 0.0]])  # at T = 2: 3/4 1/4
    loss(Joint(distill=0.5), teacher_BC, guesses, torch.tensor([0])).total.backward()
    expected = torch.tensor([[-0.5 + 0.5 * 2 * -0.25, 0.5 + 0.5 * 2 * 0.25]])
    torch.testing.assert_close(guesses[6].grad, expected)


def test_regression_is_squared_error():
    guesses = {4: torch.tensor([[1.0], [2.0]]), 6: torch.tensor([[2.0], [4.5]])}
    labels, teacher_BC = torch.tensor([2.0, 4.0]), torch.tensor([[2.0], [4.0]])
    found = loss(Joint(distill=0.5), teacher_BC, guesses, labels)
    assert found.total.item() == pytest.approx(0.3 * 5.0 + 0.25 + 0.5 * 0.25)


def test_penalties_are_added():
    found = loss(Joint(), penalties={"gates": torch.tensor(2.5)})
    assert found.total.item() == pytest.approx(0.3 * CE_4 + CE_6 + 2.5)
    assert found.parts["gates"].item() == 2.5


def test_a_stage_of_early_exits_has_no_last_one_to_distil_into():
    early = {4: GUESSES[4]}
    context = Context(early, LABELS, 6, teacher_BC=torch.tensor([EVEN, EVEN]))
    found = Joint(distill=0.5)(context)
    assert [*found.parts] == ["exit_4"]
    assert found.total.item() == pytest.approx(0.3 * CE_4)
