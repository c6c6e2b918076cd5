"""Everything wrong with a training config that shows before data or weights are loaded."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

from eat_lightning.config import arguments, binding_faults, make, method_faults, target
from eat_lightning.errors import ConfigError
from eat_lightning.slots import number_faults, whole_faults

# What `train` gives Trainer itself.
OURS = {
    *("logger", "callbacks", "default_root_dir", "enable_checkpointing", "enable_model_summary"),
    *("num_sanity_val_steps", "use_distributed_sampler", "reload_dataloaders_every_n_epochs"),
}


def train_faults(config: dict[str, Any]) -> list[str]:
    """All of them, one line each."""
    from eat_lightning.heads import head_faults

    num_layers = config["encoder"].get("num_layers")
    known = num_layers if isinstance(num_layers, int) else None
    faults = encoder_node_faults(config["encoder"])
    for slot in ("attention", "reduction", "exit", "objective", "schedule"):
        faults += method_faults(slot, config[slot], known)
    head = config["head"]
    activation = None if head["activation"] == "auto" else head["activation"]
    faults += head_faults(known, head["layers"], head["pool"], activation)
    faults += number_key_faults(config) + trainer_faults(config["trainer"])
    faults += logger_faults(config["logger"] or {})
    unbound = binding_faults("task", config["task"]) + binding_faults("data", config["data"])
    faults += unbound or data_faults(config)
    return faults or cross_faults(config)


def encoder_node_faults(node: dict[str, Any]) -> list[str]:
    from eat_lightning.checkpoint import encoder_faults, fresh

    faults = binding_faults("encoder", node)
    if faults:
        return faults
    pretrained, random = node.get("pretrained"), target(node) is fresh
    if random and pretrained is not None:
        return [
            f"encoder.pretrained must be null for an encoder of random weights, got {pretrained}"
        ]
    if target(node).__name__ == "load_pretrained" and not pretrained:
        return ["encoder.pretrained must name a folder or a hub's model, got null"]
    return encoder_faults(random=random, **arguments(node))


def data_faults(config: dict[str, Any]) -> list[str]:
    try:
        task = make(config["task"])
    except (ConfigError, TypeError) as error:
        return str(error).splitlines()
    check: Any = target(config["data"])
    return check.faults(task, **arguments(config["data"]))


def number_key_faults(config: dict[str, Any]) -> list[str]:
    optimizer = config["optimizer"]
    faults = [
        *number_faults("optimizer.warmup", [optimizer["warmup"]], "[0, 1)"),
        *number_faults("optimizer.weight_decay", [optimizer["weight_decay"]], "[0, inf)"),
        *whole_faults("checkpoint_every", config["checkpoint_every"], 1),
        *number_faults("seed", [config["seed"]], "[0, 4294967295]"),
    ]
    if optimizer["lr"] is not None:
        faults += number_faults("optimizer.lr", [optimizer["lr"]], "(0, inf)")
    if config["threads"] is not None:
        faults += whole_faults("threads", config["threads"], 1)
    return faults


def trainer_faults(trainer: dict[str, Any]) -> list[str]:
    """By name and value, and then by asking Lightning."""
    from lightning import Trainer

    from eat_lightning.train import trainer_arguments

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


def logger_faults(node: dict[str, Any]) -> list[str]:
    if not node.get("_target_"):
        return []
    faults = binding_faults("logger", node)
    if not faults and node["_target_"].endswith("TensorBoardLogger"):
        from importlib.util import find_spec

        if find_spec("tensorboard") is None:
            return [
                "logger=tensorboard needs the package: pip install 'eat-lightning[tensorboard]'"
            ]
    return faults


def cross_faults(config: dict[str, Any]) -> list[str]:
    """What one part of a config needs of another; all parts are sound by themselves."""
    from eat_lightning.checkpoint import class_faults
    from eat_lightning.heads import slot_faults
    from eat_lightning.teacher import teacher_faults

    task = make(config["task"])
    num_layers = config["encoder"]["num_layers"]
    heads = config["head"]["layers"]
    faults = slot_faults(make(config["exit"]), heads, num_layers, task.num_labels)
    teacher = config["teacher"]
    if make(config["objective"]).wants_teacher and teacher is None:
        faults.append("objective.distill needs a teacher: give teacher=<run or model folder>")
    if teacher is not None and not Path(teacher).is_dir():
        faults.append(f"teacher={teacher}: there is no such folder")
    elif teacher is not None:
        faults += teacher_faults(teacher, task)
    return faults + class_faults(config["encoder"].get("pretrained"), task.num_labels)
