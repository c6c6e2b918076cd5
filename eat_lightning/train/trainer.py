"""Arguments of Lightning's Trainer, and their checks."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning import Trainer

from eat_lightning.train.processes import Ranks, num_processes, on_gpu, process_faults
from eat_lightning.validation import Count, value_faults

GIVEN = {  # to every Trainer: checkpoints, samplers and epochs of batches are ours
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "reload_dataloaders_every_n_epochs": 1,
}
OURS = {*GIVEN, "logger", "callbacks", "default_root_dir"}  # what `train` gives Trainer itself
OURS |= {  # what would end a run before its schedule does, or leave its weights unselected
    *("fast_dev_run", "overfit_batches", "max_time", "limit_train_batches", "limit_val_batches"),
    *("check_val_every_n_epoch", "min_epochs", "min_steps"),
}


def capability() -> tuple[int, int] | None:
    return torch.cuda.get_device_capability() if torch.cuda.is_available() else None


def trainer_arguments(
    trainer: dict[str, Any], gpu_capability: Callable[[], tuple[int, int] | None] = capability
) -> dict[str, Any]:
    """Return the Trainer's arguments. `precision: auto` is bf16-mixed where the hardware supports
    it.

    Args:
        gpu_capability: replaces torch's query, for tests.
    """
    settings = dict(trainer)
    if settings.get("precision") == "auto":
        settings["precision"] = "32-true"
        if computes_bf16(on_gpu(trainer), gpu_capability):
            settings["precision"] = "bf16-mixed"
    if not sys.stderr.isatty():
        settings["enable_progress_bar"] = False
    return settings


def computes_bf16(
    gpu: bool, gpu_capability: Callable[[], tuple[int, int] | None] = capability
) -> bool:
    """True if the device multiplies bf16 in hardware. GPUs do from compute capability 8 on; torch
    also returns True for older ones, where it emulates bf16.
    """
    if gpu:
        return (gpu_capability() or (0, 0))[0] >= 8
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def strategy_for(trainer: dict[str, Any], all_train: bool, threads: int | None = None) -> Any:
    """Return the training strategy: DDP with several processes.

    Args:
        all_train: every parameter gets a gradient in every step. Otherwise DDP must search the
            graph for those without one, or the next step fails.
        threads: of each process.
    """
    return Ranks(threads, looks=not all_train) if num_processes(trainer) > 1 else "auto"


def trainer_faults(trainer: dict[str, Any]) -> list[str]:
    """Check the settings by name and value, then let Lightning validate them."""
    if not isinstance(trainer, dict):
        return [f"trainer must hold the settings of Trainer, got {trainer!r}"]
    found = setting_faults(trainer) or process_faults(trainer)
    return found or lightning_faults(trainer)


def setting_faults(trainer: dict[str, Any]) -> list[str]:
    """List settings that Trainer does not have, or that `train` does not support."""
    known = set(inspect.signature(Trainer).parameters) - OURS
    faults = [
        "trainer.callbacks is not an option here: give callbacks.<name>._target_=<class>"
        if key == "callbacks"
        else f"trainer.{key} is not an option here"
        for key in trainer
        if key not in known
    ]
    faults += value_faults(Count, "trainer.max_epochs", trainer.get("max_epochs"))
    if trainer.get("max_steps", -1) != -1:
        faults += value_faults(Count, "trainer.max_steps", trainer["max_steps"])
    if str(trainer.get("precision")).startswith("16"):
        faults.append(
            "trainer.precision must be 32-true or bf16-mixed, got 16: it needs loss scaling"
        )
    for key, must, why in (
        ("val_check_interval", 1.0, "an epoch ends with the selection split"),
        ("accumulate_grad_batches", 1, "data.batch_size is the global batch"),
    ):
        if trainer.get(key, must) != must:
            faults.append(f"trainer.{key} must be {must}: {why}")
    return faults


def lightning_faults(trainer: dict[str, Any]) -> list[str]:
    """List the error that Lightning raises for the settings."""
    settings: dict[str, Any] = trainer_arguments(trainer) | {
        "strategy": strategy_for(trainer, all_train=True),
        "logger": False,
        "enable_checkpointing": False,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Trainer(**settings)
    except Exception as error:  # whatever Lightning finds wrong with its own arguments
        return [f"trainer: {str(error).splitlines()[0]}"]
    return []
