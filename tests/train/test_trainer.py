"""What Lightning's Trainer is given."""

import pytest
import torch

from eat_lightning.train.trainer import trainer_arguments


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
