"""Stages in a real Trainer: what is frozen stays bit-equal, thresholds learn while soft."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.models import ragged, tiny
from lightning import Callback, Trainer
from torch.utils.data import DataLoader

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.methods.objective.gradient_equilibrium import GradientEquilibrium
from eat_lightning.methods.objective.hidden_distillation import HiddenDistillation
from eat_lightning.methods.objective.joint import Joint
from eat_lightning.methods.objective.self_distillation import SelfDistillation
from eat_lightning.methods.schedule.anneal import Anneal
from eat_lightning.methods.schedule.mixed import Mixed
from eat_lightning.methods.schedule.soft_hard import SoftHard
from eat_lightning.methods.schedule.two_stage import TwoStage
from eat_lightning.model.contracts import Objective, Pass
from eat_lightning.model.method import argument_faults
from eat_lightning.model.training import Loss
from eat_lightning.train.callbacks.stages import FollowStages, all_train
from eat_lightning.train.module import Classifier, dropped_layers, step_seed

# Lightning on loaders without workers, validation and loggers
pytestmark = pytest.mark.filterwarnings("ignore")
TASK: Any = SimpleNamespace(metrics=["accuracy"], kind=SingleLabel(3))
STEPS = 8


class Watch(Callback):
    """Copies of the weights before each step, and after the last."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []
        self.soft: list[bool] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.copy(pl_module.encoder)

    def on_train_start(self, trainer, pl_module) -> None:
        self.hook = pl_module.encoder.register_forward_pre_hook(
            lambda module, given: self.soft.append(given[1].soft)
        )

    def on_train_end(self, trainer, pl_module) -> None:
        self.hook.remove()
        self.copy(pl_module.encoder)

    def copy(self, encoder) -> None:
        self.seen.append({n: p.detach().clone() for n, p in encoder.named_parameters()})

    def moved(self, begin: int, end: int) -> set[str]:
        """Parameters that changed between two steps."""
        before, after = self.seen[begin], self.seen[end]
        return {name for name in before if not torch.equal(before[name], after[name])}


def batches() -> DataLoader:
    found = []
    for seed in range(STEPS):
        batch = ragged(seed=seed)
        batch.labels_B = torch.tensor([0, 1, 2, 0, 1])
        found.append(batch)
    return DataLoader(found, batch_size=None)  # type: ignore[arg-type]


def fit(encoder, schedule, objective: Any = None, teacher: Any = None) -> Watch:
    watch, rates = Watch(), {"lr": 0.01, "weight_decay": 0.1}
    objective = objective or Joint()
    module = Classifier(encoder.train(), TASK, objective, schedule, **rates, teacher=teacher)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FollowStages(), watch],
    )
    trainer.fit(module, batches())
    return watch


def test_two_stages_leave_what_is_frozen_bit_equal():
    watch = fit(tiny(exit="confidence"), TwoStage(0.5))
    early = {name for name in watch.seen[0] if name.startswith(("heads.3.", "heads.4."))}
    others = watch.seen[0].keys() - early
    assert watch.moved(0, 4) == others
    assert watch.moved(4, STEPS) == early


@pytest.mark.parametrize("kind", ["berxit", "cats", "prototype"])
def test_an_exit_rule_learns_from_early_exits_in_the_second_stage(kind: str):
    watch = fit(tiny(exit=kind), TwoStage(0.5))
    assert not any(name.startswith("exit.") for name in watch.moved(0, 4))
    learned = {name for name in watch.moved(4, STEPS) if name.startswith("exit.")}
    assert learned
    assert kind == "berxit" or all(name.split(".")[2] in "34" for name in learned)


def test_thresholds_learn_while_soft_and_then_stand_still():
    encoder = tiny("dense", "ltp")
    encoder.reduction.temperature = 0.05
    watch = fit(encoder, SoftHard(warm=0.25, soft=0.25))
    assert watch.soft == [False] * 2 + [True] * 2 + [False] * 4
    assert "reduction.delta" not in watch.moved(0, 2) | watch.moved(4, STEPS)
    assert "reduction.delta" in watch.moved(2, 4)
    assert "layers.0.up.weight" in watch.moved(4, STEPS)


class Sandwich(Objective):
    """An objective with further passes, hidden states and a flow, all asked for at once."""

    def __init__(self) -> None:
        self.stages: list[int] = []

    @property
    def wants(self) -> frozenset[str]:
        return frozenset({"hidden"})

    def passes(self, step: int, encoder: Any) -> list[Pass]:
        return [Pass(skips=frozenset({2})), Pass(tiny().reduction)]

    def flow(self, k: int, num_exits: int) -> tuple[float, float]:
        return GradientEquilibrium().flow(k, num_exits)

    def __call__(self, context) -> Loss:
        self.stages.append(context.stage)
        assert [*context.hidden] == [0, 1, 2, 3, 4, 5, 6]
        assert len(context.passes) == 2
        skipped, whole = context.passes
        assert not torch.equal(skipped[6], whole[6])
        return Loss(sum(guess.square().sum() for guess in context.guesses.values()))  # type: ignore[arg-type]


def test_an_objective_gets_what_it_asks_for():
    objective = Sandwich()
    fit(tiny("dense", "norm_topk", "confidence", dropout=0.0), Anneal(0, 0), objective)
    assert objective.stages == [0] * STEPS


EARLY = ("heads.3.", "heads.4.")


def test_mixed_leaves_early_heads_bit_equal_and_then_trains_everything():
    watch = fit(tiny(exit="confidence"), Mixed(0.5))
    early = {name for name in watch.seen[0] if name.startswith(EARLY)}
    assert watch.moved(0, 4) == watch.seen[0].keys() - early
    assert watch.moved(4, STEPS) == watch.seen[0].keys()
    assert len(Mixed().stages(1, [6])) == 1  # a static model has no second stage
    assert argument_faults(Mixed, 6, backbone_share=1.0) == [
        "schedule.backbone_share must be below 1, got 1.0"
    ]


@pytest.mark.parametrize("kind", ["attention", "past_future", "shared"])
def test_two_stages_freeze_heads_of_every_kind(kind: str):
    head = {"kind": kind} | ({"separate_classes": True} if kind == "shared" else {})
    watch = fit(tiny(exit="confidence", head=head), TwoStage(0.5), SelfDistillation())
    early = {name for name in watch.seen[0] if name.startswith(EARLY)}
    unused = {name for name in early if ".imitate." in name and ".3." in name}
    assert early
    assert not watch.moved(0, 4) & early
    assert watch.moved(4, STEPS) == early - unused


def test_a_teachers_hidden_states_teach_and_the_teacher_stands_still():
    teacher, objective = tiny(hidden_size=8), HiddenDistillation(distill=0.0, attention=1.0)
    encoder = tiny("dense", "norm_topk", "confidence")
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    torch.manual_seed(0)
    objective.bind(encoder.shape, teacher.shape)
    projection = objective.projection.weight.detach().clone()
    watch = fit(encoder, Anneal(0, 0), objective, teacher)
    assert "layers.0.up.weight" in watch.moved(0, STEPS)
    assert not torch.equal(objective.projection.weight, projection)
    assert all(torch.equal(w, before[name]) for name, w in teacher.state_dict().items())


class LastOnly(Objective):
    def __call__(self, context) -> Loss:
        return Loss(context.guesses[context.last].sum())


class Hidden(LastOnly):
    def __call__(self, context) -> Loss:
        return Loss(context.hidden[0].x_ND.sum())


@pytest.mark.parametrize(
    ("schedule", "objective", "expected"),
    [
        (Anneal(0, 0), Joint(distill=0.5), True),
        (Anneal(0, 0), GradientEquilibrium(), True),
        (Anneal(0, 0), LastOnly(), False),
        (Anneal(0, 0), Hidden(), False),
        (TwoStage(0.5), Joint(), False),
        (SoftHard(), Joint(), False),
    ],
)
def test_what_goes_without_a_gradient_is_known_before(schedule, objective, expected: bool):
    stages = schedule.stages(1, [3, 4, 6])
    assert all_train(tiny("dense", "norm_topk", "confidence"), stages, objective) == expected


def test_what_a_step_leaves_out_does_not_move():
    encoder = tiny(layerdrop=0.5, dropout=0.0)
    watch, met = fit(encoder, Anneal(0, 0)), set()
    for step in range(1, STEPS):
        torch.manual_seed(step_seed(1, step, 0))
        gone = dropped_layers(encoder.shape)
        moved = watch.moved(step, step + 1)
        assert {k for k in range(1, 7) if f"layers.{k - 1}.up.weight" not in moved} == gone
        met |= gone
    assert met == {1, 2, 3, 4, 5, 6}
