"""What Lightning's Trainer is given, and what can be wrong with it."""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any

from eat_lightning.bounds import whole_faults

OURS = {  # what `train` gives Trainer itself
    *("logger", "callbacks", "default_root_dir", "enable_checkpointing", "enable_model_summary"),
    *("num_sanity_val_steps", "use_distributed_sampler", "reload_dataloaders_every_n_epochs"),
}
OURS |= {  # what would end a run before its schedule does, or leave its weights unselected
    *("fast_dev_run", "overfit_batches", "max_time", "limit_train_batches", "limit_val_batches"),
    *("check_val_every_n_epoch", "min_epochs", "min_steps"),
}


def trainer_arguments(trainer: dict[str, Any]) -> dict[str, Any]:
    """Trainer's own arguments: `precision: auto` is bf16-mixed where the device computes it."""
    settings = dict(trainer)
    if settings.get("precision") == "auto":
        on_gpu = settings.get("accelerator") in ("gpu", "cuda")
        settings["precision"] = "bf16-mixed" if computes_bf16(on_gpu) else "32-true"
    if not sys.stderr.isatty():
        settings["enable_progress_bar"] = False
    return settings


def computes_bf16(on_gpu: bool) -> bool:
    """Whether the device multiplies bf16 itself: GPUs do from compute capability 8 on, and torch
    calls older ones able since it emulates it there."""
    import torch

    if on_gpu:
        return torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def is_first_process() -> bool:
    """False in the copies that a strategy such as ddp starts of the whole command."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def trainer_faults(trainer: dict[str, Any]) -> list[str]:
    """Check the settings by name and value, and then by asking Lightning."""
    from lightning import Trainer

    if not isinstance(trainer, dict):
        return [f"trainer must hold the settings of Trainer, got {trainer!r}"]
    known = set(inspect.signature(Trainer).parameters) - OURS
    faults = [f"trainer.{key} is not an option here" for key in trainer if key not in known]
    faults += whole_faults("trainer.max_epochs", trainer.get("max_epochs"), 1)
    if trainer.get("max_steps", -1) != -1:
        faults += whole_faults("trainer.max_steps", trainer["max_steps"], 1)
    if str(trainer.get("precision")).startswith("16"):
        faults.append(
            "trainer.precision must be 32-true or bf16-mixed, got 16: it needs loss scaling"
        )
    if trainer.get("val_check_interval", 1.0) != 1.0:
        faults.append(
            "trainer.val_check_interval must be 1.0: an epoch ends with the selection split"
        )
    if trainer.get("accumulate_grad_batches", 1) != 1:
        faults.append(
            "trainer.accumulate_grad_batches must be 1: data.batch_size is the global batch"
        )
    if faults:
        return faults
    settings: dict[str, Any] = trainer_arguments(trainer) | {
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


def launch_faults(trainer: dict[str, Any], multirun: bool) -> list[str]:
    """Plain ddp starts copies of the whole command; in a sweep they would train other jobs."""
    strategy = str(trainer.get("strategy", "auto"))
    in_process = strategy.startswith(("ddp_fork", "ddp_spawn", "ddp_notebook"))
    plain = strategy.startswith("ddp") or (strategy == "auto" and is_for_several(trainer))
    if multirun and plain and not in_process:
        return [
            f"trainer.strategy={strategy} cannot run in a multirun (its copies would start the "
            "sweep again): use ddp_fork or ddp_spawn"
        ]
    return []


def is_for_several(trainer: dict[str, Any]) -> bool:
    return str(trainer.get("devices", 1)) != "1" or trainer.get("num_nodes", 1) != 1


def strategy_for(trainer: dict[str, Any], all_train: bool) -> Any:
    """The strategy to train with: where some parameters get no gradient in a step, DDP must look
    for them, or the next step ends in an error. all_train: every one gets a gradient in every step,
    so that the look, a walk over the graph, is spared."""
    strategy = trainer.get("strategy", "auto")
    if strategy == "auto" and is_for_several(trainer):
        strategy = "ddp"  # as Lightning does
    looks = strategy in ("ddp", "ddp_fork", "ddp_spawn", "ddp_notebook") and not all_train
    if looks:
        return f"{strategy}_find_unused_parameters_true"
    return trainer.get("strategy", "auto")


def quiet() -> None:
    """Lightning tells at length what it found; what matters is printed by callbacks."""
    import logging

    import lightning.pytorch  # noqa: F401  sets its level when it is first imported

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning 2.6's own, on torch 2.13.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    warnings.filterwarnings("ignore", message="The number of training batches")
    # torchmetrics has gathered these already.
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
