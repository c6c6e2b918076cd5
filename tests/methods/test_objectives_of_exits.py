"""Objectives over exits: losses by hand, and which parameters get a gradient."""

import math

import pytest
import torch
from models import ragged, tiny

from eat_lightning.methods.objective.alternating import Alternating
from eat_lightning.methods.objective.depth_weighted import DepthWeighted
from eat_lightning.methods.objective.gradient_equilibrium import GradientEquilibrium
from eat_lightning.methods.objective.joint import Joint
from eat_lightning.methods.objective.self_distillation import SelfDistillation
from eat_lightning.methods.objective.sweet import Sweet
from eat_lightning.model.options import PassOptions
from eat_lightning.model.training import Context

EVEN, TILTED = [0.0, 0.0], [math.log(3.0), 0.0]  # probabilities 1/2 1/2 and 3/4 1/4
GUESSES = {4: torch.tensor([EVEN, TILTED]), 6: torch.tensor([TILTED, TILTED])}
LABELS = torch.tensor([0, 1])
CE_4 = math.log(2) + math.log(4)
CE_6 = math.log(4 / 3) + math.log(4)
KL = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)  # 1/2 1/2 from 3/4 1/4
REVERSE = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)


def loss(objective, guesses=None, **more):
    return objective(Context(guesses or GUESSES, LABELS, 6, **more))


def moved(objective, **more) -> dict[str, torch.Tensor]:
    """Gradients that are not zero, of a tiny encoder with heads at 3, 4 and 6."""
    encoder = tiny(exit="confidence", dropout=0.0, attention_dropout=0.0).train()
    guesses = encoder(ragged(), PassOptions(flow=objective.flow)).guesses
    labels_B = torch.tensor([0, 1, 2, 0, 1])
    objective(Context(guesses, labels_B, 6, **more)).total.backward()
    found = {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
    return {name: grad for name, grad in found.items() if grad.any()}


def parts_moved(objective, **more) -> set[str]:
    """Heads and layers among them: "heads.3", "layers.0"."""
    return {".".join(n.split(".")[:2]) for n in moved(objective, **more) if n[0] in "hl"}


def test_depth_weighs_a_loss():
    found = loss(DepthWeighted())
    assert found.total.item() == pytest.approx((4 * CE_4 + 6 * CE_6) / 10)
    assert found.parts["exit_4"].item() == pytest.approx(CE_4)
    alone = loss(DepthWeighted(), {4: GUESSES[4]})  # of those that count in a stage
    assert alone.total.item() == pytest.approx(CE_4)


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


@pytest.mark.parametrize(
    ("objective", "weights"),
    [
        (GradientEquilibrium(0.5, 1.0), {4: 1.0, 6: 1.0}),
        (DepthWeighted(0.5, 1.0), {4: 0.4, 6: 0.6}),
        (Sweet(0.5, 1.0), {4: 1.0, 6: 1.0}),
    ],
)
def test_a_teacher_speaks_to_every_exit(objective, weights: dict[int, float]):
    assert objective.wants_teacher
    assert not type(objective)().wants_teacher
    found = loss(objective, teacher_BC=torch.tensor([EVEN, EVEN]))
    divergence = {4: KL, 6: 2 * KL}
    expected = sum(w * ({4: CE_4, 6: CE_6}[k] + 0.5 * divergence[k]) for k, w in weights.items())
    assert found.total.item() == pytest.approx(expected)
    assert found.parts["distill_6"].item() == pytest.approx(2 * KL)


def test_alternating_takes_turns():
    assert loss(Alternating(), step=0).total.item() == pytest.approx(CE_6)
    assert loss(Alternating(), step=1).total.item() == pytest.approx(CE_4 + CE_6)
    assert loss(Alternating(released=True), step=1).total.item() == pytest.approx(CE_4)
    assert loss(Alternating(released=True), step=2).total.item() == pytest.approx(CE_6)
    assert loss(Alternating(), step=2).total.item() == pytest.approx(CE_6)
    early = {4: GUESSES[4]}  # a stage without the last exit
    assert loss(Alternating(), early, step=0).total.item() == pytest.approx(CE_4)


def test_a_step_of_the_last_exit_gives_early_heads_no_gradient_at_all():
    body = {f"layers.{k}" for k in range(6)}
    assert parts_moved(Alternating(), step=0) == body | {"heads.6"}
    assert parts_moved(Alternating(), step=1) == body | {"heads.3", "heads.4", "heads.6"}


def test_early_exits_learn_the_last_ones_distribution():
    found = loss(SelfDistillation())
    assert found.parts["distill_4"].item() == pytest.approx(REVERSE)
    assert found.total.item() == pytest.approx(CE_6 + REVERSE)
    found = loss(SelfDistillation(target="both"))
    assert found.total.item() == pytest.approx(CE_6 + (CE_4 + REVERSE) / 2)
    found = loss(SelfDistillation(target="labels"))
    assert [*found.parts] == ["exit_4", "exit_6"]
    assert found.total.item() == pytest.approx(CE_6 + CE_4)


def test_in_a_stage_of_early_exits_the_last_one_still_teaches():
    found = loss(SelfDistillation(), {4: GUESSES[4]}, full_BC=GUESSES[6])
    assert [*found.parts] == ["distill_4"]  # no label is read
    assert found.total.item() == pytest.approx(REVERSE)
    assert SelfDistillation(temperature=2.0)(
        Context({4: torch.tensor([EVEN])}, torch.tensor([0]), 6, full_BC=2 * GUESSES[6][:1])
    ).total.item() == pytest.approx(4 * REVERSE)


def test_the_last_exit_is_a_target_without_gradient():
    own, joint = moved(SelfDistillation()), moved(Joint(0.0, 1.0))
    assert torch.equal(own["heads.6.classes.weight"], joint["heads.6.classes.weight"])
    assert "heads.3.classes.weight" in own
