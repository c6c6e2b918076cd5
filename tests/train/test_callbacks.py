"""Schedules, temperatures and rates at values a person can compute; what the Trainer is given."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.methods.schedule.anneal import Anneal
from eat_lightning.methods.schedule.two_stage import TwoStage
from eat_lightning.new.checks import Examples
from eat_lightning.record.passes import record
from eat_lightning.train.callbacks.stages import Timeline, warm_then_linear
from eat_lightning.train.callbacks.temperature import (
    FitTemperature,
    calibrate,
    ece,
    fit_temperature,
)
from eat_lightning.train.module import scheduled_retention, step_seed
from eat_lightning.train.trainer import trainer_arguments


def strengths(schedule, epochs: list[float], num_epochs: int = 3) -> list[float]:
    """Of a stage of so many epochs, after so much of it."""
    (stage,) = schedule.stages(num_epochs, [6])
    return [stage.strength(epoch / num_epochs) for epoch in epochs]


def test_the_papers_schedule_is_linear_over_epochs_two_and_three():
    found = strengths(Anneal(1.0, 3.0), [0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0])
    assert found == pytest.approx([0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0])


def test_a_run_cut_to_fewer_steps_sees_its_whole_schedule():
    timeline = Timeline.of(Anneal(1.0, 3.0).stages(3, [6]), total=30)
    assert timeline.strength(29) == 1.0
    assert timeline.strength(9) == 0.0
    assert timeline.reached(30)
    assert not timeline.reached(29)


def test_stages_follow_each_other():
    timeline = Timeline.of(TwoStage(0.25, 2.0).stages(3, [3, 4, 6]), total=100)
    assert [timeline.number(step) for step in (0, 24, 25, 99)] == [0, 0, 1, 1]
    body, heads = timeline.stages
    early = ("heads.3.*", "heads.4.*", "exit.*")
    assert (body.frozen, body.exits) == (early, "last")
    assert (heads.trains, heads.exits) == (early, "early")
    # Each stage warms up and decays by itself; the second at twice the rate.
    assert timeline.learning_rate(24, 0.0) == pytest.approx(1 / 24)
    assert timeline.learning_rate(25, 0.0) == 2.0
    assert not timeline.reached(20)
    assert timeline.reached(100)


def test_scheduled_retention_is_the_papers_product():
    encoder: Any = SimpleNamespace(reduction=NormTopK(0.3, [2, 4]), strength=torch.tensor(1.0))
    assert scheduled_retention(encoder) == pytest.approx(0.49)
    encoder.strength = torch.tensor(0.5)
    assert scheduled_retention(encoder) == pytest.approx(0.85**2)


def test_a_temperature_undoes_a_scaling():
    torch.manual_seed(0)
    logits = torch.randn(20_000, 3)
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert fit_temperature(logits * 2, labels) == pytest.approx(2.0, rel=0.05)


def test_only_a_head_above_the_bound_gets_a_temperature():
    torch.manual_seed(0)
    logits = torch.randn(20_000, 2)
    labels = torch.distributions.Categorical(logits=logits).sample()
    heads = {k: SimpleNamespace(temperature=torch.ones(())) for k in (2, 4)}
    encoder: Any = SimpleNamespace(heads=SimpleNamespace(at=heads.get), kind=SingleLabel(2))
    found = calibrate(encoder, {2: logits, 4: 3 * logits}, labels)
    assert heads[2].temperature == 1.0
    assert float(heads[4].temperature) == pytest.approx(3.0, rel=0.05)
    assert found[4]["ece_before"] > 0.02 > found[4]["ece_after"]
    assert found[2]["ece_before"] == found[2]["ece_after"]


def test_learning_rate_rises_and_falls_linearly():
    rates = [warm_then_linear(step, total=100, warmup=0.1) for step in range(101)]
    assert rates[0] == 0.1
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0.0


def test_a_steps_randomness_depends_on_seed_step_and_process_alone():
    assert step_seed(1, 5, 0) == step_seed(1, 5, 0)
    assert len({step_seed(*x) for x in [(1, 5, 0), (2, 5, 0), (1, 6, 0), (1, 5, 1)]}) == 4


def test_temperatures_are_fitted_on_all_of_the_cut_but_the_part_of_certificates():
    """Random heads, so that each exit has an ECE above the bound; labels 0, 1, 0, 1 ..."""
    encoder = tiny("dense", "none", "never", head={"layers": [2, 4]})
    parts = {"select": Examples(ragged((5, 3, 7, 4))), "temperature": Examples(ragged((6, 2, 9)))}
    guesses = [record(encoder, part) for part in parts.values()]
    both_BC, labels_B = (
        torch.cat([torch.as_tensor(x) for x in each])
        for each in ([g.guesses[2] for g in guesses], [g.labels for g in guesses])
    )
    trainer: Any = SimpleNamespace(
        is_global_zero=True, datamodule=SimpleNamespace(split=parts.__getitem__)
    )
    module = SimpleNamespace(encoder=encoder, calibration={})
    FitTemperature().on_train_end(trainer, module)
    assert module.calibration[2]["ece_before"] == pytest.approx(ece(both_BC, labels_B))
    wanted = fit_temperature(both_BC, labels_B)
    assert float(encoder.heads["2"].temperature) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")],
)
def test_auto_is_bf16_where_a_gpu_computes_it_itself(capability, precision):
    """Not on a T4 (7.5), where torch emulates it."""
    given = {"accelerator": "gpu", "precision": "auto"}
    assert trainer_arguments(given, lambda: capability)["precision"] == precision


def test_a_precision_that_is_named_stays():
    assert trainer_arguments({"precision": "32-true"})["precision"] == "32-true"
