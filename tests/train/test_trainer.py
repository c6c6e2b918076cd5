"""What Lightning's Trainer is given."""

import pytest
import torch

from eat_lightning.train.trainer import strategy_for, trainer_arguments


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")],
)
def test_auto_is_bf16_where_a_gpu_computes_it_itself(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    # What torch answers of a T4, where it emulates it.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    given = {"accelerator": "gpu", "precision": "auto"}
    assert trainer_arguments(given)["precision"] == precision


def test_a_precision_that_is_named_stays():
    assert trainer_arguments({"precision": "32-true"})["precision"] == "32-true"


@pytest.mark.parametrize(
    ("given", "all_train", "chosen"),
    [
        ({"strategy": "ddp", "devices": 2}, True, "ddp"),
        ({"strategy": "ddp", "devices": 2}, False, "ddp_find_unused_parameters_true"),
        ({"strategy": "ddp_spawn", "devices": 2}, False, "ddp_spawn_find_unused_parameters_true"),
        ({"strategy": "auto", "devices": 2}, True, "auto"),
        ({"strategy": "auto", "devices": 2}, False, "ddp_find_unused_parameters_true"),
        ({"strategy": "auto", "num_nodes": 2}, False, "ddp_find_unused_parameters_true"),
        ({"strategy": "auto", "devices": 1}, False, "auto"),
        ({}, False, "auto"),
        ({"strategy": "fsdp", "devices": 2}, False, "fsdp"),
        (
            {"strategy": "ddp_find_unused_parameters_false", "devices": 2},
            False,
            "ddp_find_unused_parameters_false",
        ),
    ],
)
def test_ddp_looks_for_parameters_without_a_gradient_where_there_are_some(given, all_train, chosen):
    assert strategy_for(given, all_train) == chosen
