"""Objectives over exits: losses by hand, and which parameters get a gradient."""

import math
from typing import Any

import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.methods.objective.alternating import Alternating
from eat_lightning.methods.objective.depth_weighted import DepthWeighted
from eat_lightning.methods.objective.gradient_equilibrium import GradientEquilibrium
from eat_lightning.methods.objective.joint import Joint
from eat_lightning.methods.objective.self_distillation import SelfDistillation
from eat_lightning.methods.objective.sweet import Sweet
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.training import Context

EVEN, TILTED = [0.0, 0.0], [math.log(3.0), 0.0]  # probabilities 1/2 1/2 and 3/4 1/4
GUESSES = {4: torch.tensor([EVEN, TILTED]), 6: torch.tensor([TILTED, TILTED])}
LABELS = torch.tensor([0, 1])
BATCH_LABELS = torch.tensor([0, 1, 2, 0, 1])  # of the ragged batch
CE_4 = math.log(2) + math.log(4)
CE_6 = math.log(4 / 3) + math.log(4)
KL = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)  # 1/2 1/2 from 3/4 1/4
REVERSE = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)


AGREES = torch.tensor([EVEN, TILTED])  # with the last guess of the second example
UNSURE = torch.tensor([EVEN, EVEN])
EARLY = {4: GUESSES[4]}  # a stage without the last exit
DISTILLED = {4: CE_4 + 0.5 * KL, 6: CE_6 + 0.5 * 2 * KL}


@pytest.mark.parametrize(
    ("objective", "given", "total", "parts"),
    [
        (Joint(), {}, 0.3 * CE_4 + CE_6, ["exit_4", "exit_6"]),
        (
            Joint(0.3, distill=0.5, teacher_temperature=1.0),
            {"teacher_BC": AGREES},
            0.3 * CE_4 + CE_6 + 0.5 * KL,
            ["exit_4", "exit_6", "distill_6"],
        ),
        (
            Joint(0.3, distill=0.5, teacher_temperature=1.0, distill_into="all"),
            {"teacher_BC": UNSURE},
            0.3 * DISTILLED[4] + DISTILLED[6],
            ["exit_4", "exit_6", "distill_4", "distill_6"],
        ),
        (
            Joint(),
            {"penalties": {"gates": torch.tensor(2.5)}},
            0.3 * CE_4 + CE_6 + 2.5,
            ["exit_4", "exit_6", "gates"],
        ),
        (
            Joint(distill=0.5),
            {"guesses": EARLY, "teacher_BC": UNSURE},
            0.3 * CE_4,
            ["exit_4"],
        ),
        (DepthWeighted(), {}, (4 * CE_4 + 6 * CE_6) / 10, ["exit_4", "exit_6"]),
        (DepthWeighted(), {"guesses": EARLY}, CE_4, ["exit_4"]),
        (
            DepthWeighted(0.5, 1.0),
            {"teacher_BC": UNSURE},
            0.4 * DISTILLED[4] + 0.6 * DISTILLED[6],
            ["exit_4", "exit_6", "distill_4", "distill_6"],
        ),
        (
            GradientEquilibrium(0.5, 1.0),
            {"teacher_BC": UNSURE},
            DISTILLED[4] + DISTILLED[6],
            ["exit_4", "exit_6", "distill_4", "distill_6"],
        ),
        (
            Sweet(0.5, 1.0),
            {"teacher_BC": UNSURE},
            DISTILLED[4] + DISTILLED[6],
            ["exit_4", "exit_6", "distill_4", "distill_6"],
        ),
        (Alternating(), {"step": 0}, CE_6, ["exit_4", "exit_6"]),
        (Alternating(), {"step": 1}, CE_4 + CE_6, ["exit_4", "exit_6"]),
        (Alternating(released=True), {"step": 1}, CE_4, ["exit_4", "exit_6"]),
        (Alternating(), {"guesses": EARLY, "step": 0}, CE_4, ["exit_4"]),
        (SelfDistillation(), {}, CE_6 + REVERSE, ["distill_4", "exit_6"]),
        (
            SelfDistillation(target="both"),
            {},
            CE_6 + (CE_4 + REVERSE) / 2,
            ["exit_4", "distill_4", "exit_6"],
        ),
        (SelfDistillation(target="labels"), {}, CE_4 + CE_6, ["exit_4", "exit_6"]),
        # In a stage of early exits the last one still teaches, and no label is read.
        (SelfDistillation(), {"guesses": EARLY, "full_BC": GUESSES[6]}, REVERSE, ["distill_4"]),
    ],
)
def test_losses(objective, given: dict[str, Any], total: float, parts: list[str]):
    found = objective(Context(**{"guesses": GUESSES, "labels_B": LABELS, "last": 6, **given}))
    assert found.total.item() == pytest.approx(total)
    assert {*found.parts} == {*parts}


@pytest.mark.parametrize("kind", [DepthWeighted, GradientEquilibrium, Sweet])
def test_a_teacher_is_wanted_where_it_counts(kind: Any):
    assert (kind().wants_teacher, kind(0.5, 1.0).wants_teacher) == (False, True)


def test_distillation_temperatures():
    """Logits of 2 log 3 at T = 2 are log 3, and T^2 = 4."""
    guesses, label = {6: torch.tensor([[2 * math.log(3.0), 0.0]])}, torch.tensor([0])
    objective = Joint(distill=1.0, teacher_temperature=2.0)
    found = objective(Context(guesses, label, 6, torch.tensor([EVEN])))
    assert found.total.item() == pytest.approx(math.log(10 / 9) + 4 * KL)
    early = Context({4: torch.tensor([EVEN])}, label, 6, full_BC=2 * GUESSES[6][:1])
    assert SelfDistillation(temperature=2.0)(early).total.item() == pytest.approx(4 * REVERSE)


def test_gradient_is_that_of_the_definition():
    """Of cross-entropy: probability - label; of T^2 KL: T (student - teacher)."""
    guesses = {6: torch.tensor([EVEN], requires_grad=True)}
    teacher_BC = torch.tensor([[2 * math.log(3.0), 0.0]])  # at T = 2: 3/4 1/4
    Joint(distill=0.5)(Context(guesses, torch.tensor([0]), 6, teacher_BC)).total.backward()
    expected = torch.tensor([[-0.5 + 0.5 * 2 * -0.25, 0.5 + 0.5 * 2 * 0.25]])
    torch.testing.assert_close(guesses[6].grad, expected)


def test_regression_is_squared_error():
    guesses = {4: torch.tensor([[1.0], [2.0]]), 6: torch.tensor([[2.0], [4.5]])}
    labels, teacher_BC = torch.tensor([2.0, 4.0]), torch.tensor([[2.0], [4.0]])
    found = Joint(distill=0.5)(Context(guesses, labels, 6, teacher_BC))
    assert found.total.item() == pytest.approx(0.3 * 5.0 + 0.25 + 0.5 * 0.25)


def moved(objective, **more) -> dict[str, torch.Tensor]:
    """Gradients that are not zero, of a tiny encoder with heads at 3, 4 and 6."""
    encoder = tiny(exit="confidence", dropout=0.0, attention_dropout=0.0).train()
    guesses = encoder(ragged(), PassOptions(flow=objective.flow)).guesses
    objective(Context(guesses, BATCH_LABELS, 6, **more)).total.backward()
    found = {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
    return {name: grad for name, grad in found.items() if grad.any()}


def parts_moved(objective, **more) -> set[str]:
    """Heads and layers among them: "heads.3", "layers.0"."""
    return {".".join(n.split(".")[:2]) for n in moved(objective, **more) if n[0] in "hl"}


def test_in_sweet_each_layer_has_the_gradient_of_the_next_exit_alone():
    encoder = tiny(exit="confidence", dropout=0.0, attention_dropout=0.0).train()
    guesses = encoder(ragged(), PassOptions(flow=Sweet().flow)).guesses
    reached = {}
    for k, guess_BC in guesses.items():
        encoder.zero_grad()
        guess_BC.sum().backward(retain_graph=True)
        names = [n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.any()]
        reached[k] = {".".join(n.split(".")[:2]) for n in names}
    embedding = {f"embedding.{part}" for part in ("word", "position", "token_type", "norm")}
    assert reached[3] == embedding | {"layers.0", "layers.1", "layers.2", "heads.3"}
    assert reached[4] == {"layers.3", "heads.4"}
    assert reached[6] == {"layers.4", "layers.5", "heads.6"}


def test_a_step_of_the_last_exit_gives_early_heads_no_gradient_at_all():
    body = {f"layers.{k}" for k in range(6)}
    assert parts_moved(Alternating(), step=0) == body | {"heads.6"}
    assert parts_moved(Alternating(), step=1) == body | {"heads.3", "heads.4", "heads.6"}


def test_the_last_exit_is_a_target_without_gradient():
    own, joint = moved(SelfDistillation()), moved(Joint(0.0, 1.0))
    assert torch.equal(own["heads.6.classes.weight"], joint["heads.6.classes.weight"])
    assert "heads.3.classes.weight" in own


def gradients(objective, exits: list[int] | None = None) -> dict[str, torch.Tensor]:
    """Of all parameters, without dropout, for the losses of the exits named."""
    encoder = tiny(exit="confidence", dropout=0.0, attention_dropout=0.0).train()
    trace = encoder(ragged(), PassOptions(flow=objective.flow))
    guesses = {k: g for k, g in trace.guesses.items() if exits is None or k in exits}
    objective(Context(guesses, BATCH_LABELS, 6)).total.backward()
    return {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}


def test_the_body_gets_the_mean_of_the_single_exits_gradients():
    found = gradients(GradientEquilibrium())
    each = [gradients(Joint(1.0, 1.0), [k]) for k in (3, 4, 6)]
    name = "layers.0.up.weight"  # below all three exits
    torch.testing.assert_close(found[name], sum(g[name] for g in each) / 3, atol=1e-6, rtol=1e-4)
    name = "layers.3.up.weight"  # layer 4: below the exits at 4 and 6
    torch.testing.assert_close(
        found[name], (each[1][name] + each[2][name]) / 2, atol=1e-6, rtol=1e-4
    )
    name = "layers.5.up.weight"
    torch.testing.assert_close(found[name], each[2][name], atol=1e-6, rtol=1e-4)


def test_heads_keep_their_own_gradient():
    found = gradients(GradientEquilibrium())
    for k in (3, 4, 6):
        alone = gradients(Joint(1.0, 1.0), [k])
        name = f"heads.{k}.classes.weight"
        torch.testing.assert_close(found[name], alone[name], atol=1e-6, rtol=1e-4)
