"""Everything wrong with a training config that shows before data or weights are loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from eat_lightning.bounds import number_faults, whole_faults
from eat_lightning.config import arguments, binding_faults, make, target
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import method_faults
from eat_lightning.track.log import wandb_faults
from eat_lightning.train.trainer import trainer_faults


def train_faults(config: dict[str, Any]) -> list[str]:
    """All of them, one line each."""
    from eat_lightning.model.heads import head_faults, with_activation

    num_layers = config["encoder"].get("num_layers")
    known = num_layers if isinstance(num_layers, int) and num_layers is not True else None
    faults = encoder_node_faults(config["encoder"])
    for slot in ("attention", "reduction", "exit", "objective", "schedule"):
        faults += method_faults(slot, config[slot], known)
    faults += head_faults(known, with_activation(config["head"], None))
    if not re.fullmatch(r"[\w.,=+-]*[\w=]", str(config["study"])):
        faults.append(f"study must be a plain name, got {config['study']!r}")
    faults += number_key_faults(config) + trainer_faults(config["trainer"])
    faults += logger_faults(config["logger"] or {})
    unbound = binding_faults("task", config["task"]) + binding_faults("data", config["data"])
    faults += unbound or data_faults(config)
    return faults or cross_faults(config)


def encoder_node_faults(node: dict[str, Any]) -> list[str]:
    from eat_lightning.weights.checkpoint import encoder_faults, fresh

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
        return [f"task: {line}" for line in re.split("\n|; ", str(error))]
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


def logger_faults(node: dict[str, Any]) -> list[str]:
    if not node.get("_target_"):
        return []
    faults = binding_faults("logger", node) + wandb_faults(node)
    if not faults and node["_target_"].endswith("TensorBoardLogger"):
        from importlib.util import find_spec

        if find_spec("tensorboard") is None:
            return [
                "logger=tensorboard needs the package: pip install 'eat-lightning[tensorboard]'"
            ]
    return faults


def cross_faults(config: dict[str, Any]) -> list[str]:
    """What one part of a config needs of another; all parts are sound by themselves."""
    from eat_lightning.model.heads import slot_faults
    from eat_lightning.train.teacher import teacher_faults
    from eat_lightning.weights.checkpoint import class_faults

    task = make(config["task"])
    num_layers = config["encoder"]["num_layers"]
    heads = config["head"]["layers"]
    faults = slot_faults(make(config["exit"]), heads, num_layers, task.num_labels)
    teacher = config["teacher"]
    if make(config["objective"]).wants_teacher and teacher is None:
        faults.append("objective.distill needs a teacher: give teacher=<run or model folder>")
    if teacher is not None and not (teacher and Path(teacher).is_dir()):
        faults.append(f"teacher={teacher}: there is no such folder")
    elif teacher is not None:
        faults += teacher_faults(teacher, task)
    return faults + class_faults(config["encoder"].get("pretrained"), task.num_labels)
