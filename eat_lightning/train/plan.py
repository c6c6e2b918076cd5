"""Typed settings of a training run, with all checks that need neither data nor weights."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
from lightning import Callback
from pydantic import BeforeValidator, Field, model_validator
from torch.optim import Optimizer

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.config import Settings, arguments, binding_faults, make, parsed, target
from eat_lightning.data.task import Task
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.model.contracts import (
    Attention,
    ExitRule,
    Objective,
    Reduction,
    Schedule,
)
from eat_lightning.model.heads import head_faults, pooled_faults, slot_faults
from eat_lightning.model.specification import Specification, method_faults
from eat_lightning.overrides import METHODS
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.track.log import wandb_faults
from eat_lightning.train.processes import num_processes
from eat_lightning.train.teacher import teacher_faults
from eat_lightning.train.trainer import trainer_faults
from eat_lightning.validation import Count, NotNegative, Positive
from eat_lightning.weights.checkpoint import (
    class_faults,
    depth_of,
    encoder_faults,
    fresh,
    has_classes,
)

Node = dict[str, Any]  # a class (_target_) and its plain arguments, called where it is needed


def plain_name(value: Any) -> str:
    if not re.fullmatch(r"[\w.,=+-]*[\w=]", str(value)):
        raise ValueError(f"must be a plain name, got {value!r}")
    return str(value)


class OptimizerSettings(Settings):
    """An optimizer class with its settings.

    Args:
        lr: learning rate; None is the task's default.
        weight_decay: of matrices.
        warmup: share of all steps.
        node: the class (`_target_`) with its other arguments.
    """

    lr: Positive | None
    weight_decay: NotNegative
    warmup: Annotated[float, Field(ge=0, lt=1)]
    node: Node

    @model_validator(mode="before")
    @classmethod
    def apart(cls, given: Any) -> Any:
        """Move arguments that only the class takes to `node`."""
        if not isinstance(given, dict):
            return given
        rates = {key: given[key] for key in ("lr", "weight_decay", "warmup") if key in given}
        others = given.keys() - rates - {"_partial_"}
        return rates | {"node": {key: given[key] for key in given if key in others}}

    def over(self, groups: Iterable[dict[str, Any]], lr: float) -> Optimizer:
        """Create the optimizer for groups of parameters."""
        return make(self.node, params=groups, lr=lr)


class TimingSettings(Settings):
    """Timing of the trained setting."""

    enabled: bool
    examples: Count


@dataclass(frozen=True)
class Methods:
    """The methods of a run, in the order of `METHODS`."""

    attention: Attention
    reduction: Reduction
    exit: ExitRule
    objective: Objective
    schedule: Schedule


class TrainSettings(Settings):
    study: Annotated[str, BeforeValidator(plain_name)]
    seed: Annotated[int, Field(ge=0, le=4294967295)]
    model: str
    head: dict[str, Any]
    optimizer: OptimizerSettings
    teacher: str | None
    threads: Count | None
    checkpoint_every: Count
    measure: TimingSettings
    one_pass: OnePassSettings
    task: Node
    data: Node
    encoder: Node
    attention: Node
    reduction: Node
    exit: Node
    objective: Node
    schedule: Node
    callbacks: dict[str, Node] | None
    trainer: dict[str, Any]
    logger: Node | None

    @cached_property
    def methods(self) -> Methods:
        """The methods, created once."""
        nodes = {slot: getattr(self, slot) for slot in METHODS}
        return Methods(**{s: Specification.of_node(s, node).build() for s, node in nodes.items()})

    @property
    def kind(self) -> AnswerKind:
        """The kind of answers; for scores with the tolerance that the exit rule uses."""
        kind = make(self.task).kind
        return kind.with_error() if self.methods.exit.wants_error else kind


def planned(config: dict[str, Any]) -> TrainSettings:
    """Parse a composed config.

    Raises:
        ConfigError: with all errors at once.
    """
    faults = node_faults(config)
    try:
        plan = parsed(TrainSettings, config)
    except ConfigError as error:
        raise ConfigError.of([*str(error).splitlines(), *faults]) from None
    Faults(faults or cross_faults(plan)).check()
    return plan


def node_faults(config: dict[str, Any]) -> list[str]:
    """List the errors in each part of the config."""
    num_layers = config["encoder"].get("num_layers")
    known = num_layers if isinstance(num_layers, int) and num_layers is not True else None
    faults = encoder_node_faults(config["encoder"])
    for slot in METHODS:
        faults += method_faults(slot, config[slot], known)
    head = {key: value for key, value in config["head"].items() if value != "auto"}
    faults += head_faults(known, head)
    faults += optimizer_faults(config["optimizer"]) + callback_faults(config["callbacks"] or {})
    faults += trainer_faults(config["trainer"]) + logger_faults(config["logger"] or {})
    return faults + data_faults(config["task"], config["data"])


def optimizer_faults(node: Node) -> list[str]:
    """Check that the class accepts torch's parameter groups and the given arguments."""
    if not isinstance(node, dict) or not node.get("_target_"):
        return ["optimizer._target_ must name a class"]
    given = {key: value for key, value in node.items() if key not in ("warmup", "_partial_")}
    if faults := binding_faults("optimizer", given):
        return faults
    if is_subclass(target(node), Optimizer):
        return []
    return [f"optimizer._target_ must name an optimizer of torch's kind, got {node['_target_']}"]


def callback_faults(nodes: Any) -> list[str]:
    """Check Lightning's callbacks, each under a name."""
    if not isinstance(nodes, dict):
        return [f"callbacks must hold a class under each name, got {nodes!r}"]
    faults = []
    for name, node in nodes.items():
        unbound = binding_faults(f"callbacks.{name}", node)
        if not unbound and not is_subclass(target(node), Callback):
            unbound = [f"callbacks.{name}._target_ must name a Callback, got {node['_target_']}"]
        faults += unbound
    return faults


def is_subclass(found: Any, base: type) -> bool:
    return inspect.isclass(found) and issubclass(found, base)


def encoder_node_faults(node: Node) -> list[str]:
    if faults := binding_faults("encoder", node):
        return faults
    pretrained, random = node.get("pretrained"), target(node) is fresh
    if random and pretrained is not None:
        return [
            f"encoder.pretrained must be null for an encoder of random weights, got {pretrained}"
        ]
    if target(node).__name__ == "load_pretrained" and not pretrained:
        return ["encoder.pretrained must name a folder or a hub's model, got null"]
    return encoder_faults(random=random, **arguments(node))


def data_faults(task_node: Node, node: Node) -> list[str]:
    if unbound := binding_faults("task", task_node) + binding_faults("data", node):
        return unbound
    try:
        task = make(task_node)
    except (ConfigError, TypeError) as error:
        return [f"task: {line}" for line in re.split("\n|; ", str(error))]
    check: Any = target(node)
    return check.faults(task, **arguments(node))


def logger_faults(node: Node) -> list[str]:
    if not node.get("_target_"):
        return []
    faults = binding_faults("logger", node) + wandb_faults(node)
    tensorboard = node["_target_"].endswith("TensorBoardLogger")
    if not faults and tensorboard and find_spec("tensorboard") is None:
        return ["logger=tensorboard needs the package: pip install 'eat-lightning[tensorboard]'"]
    return faults


def cross_faults(plan: TrainSettings) -> list[str]:
    """List conflicts between parts that are valid by themselves."""
    task, teacher = make(plan.task), plan.teacher
    num_layers = plan.encoder["num_layers"]
    methods = plan.methods
    exit, objective = methods.exit, methods.objective
    faults = slot_faults(exit, plan.head["layers"], num_layers, plan.kind)
    faults += pooled_faults(exit, head_of(plan, task))
    faults += objective.fits(methods.reduction) + objective.fits_attention(methods.attention)
    faults += sharing_faults(plan)
    if plan.data.get("texts") and objective.reads_labels:
        faults.append(f"data.texts has no labels, which {type(objective).__name__} reads")
    if wants_teacher(objective) and teacher is None:
        faults.append("objective needs a teacher: give teacher=<run or model folder>")
    if teacher is not None and not (teacher and Path(teacher).is_dir()):
        faults.append(f"teacher={teacher}: there is no such folder")
    elif teacher is not None:
        faults += teacher_faults(teacher, task)
    pretrained = plan.encoder.get("pretrained")
    faults += tuned_faults(plan, pretrained)
    return faults + class_faults(pretrained, plan.kind)


def head_of(plan: TrainSettings, task: Task) -> dict[str, Any]:
    """Return the heads' settings, with the number of the task's texts if they need it."""
    texts = {"texts": len(task.columns)} if plan.head.get("texts") == "auto" else {}
    return plan.head | texts


def tuned_faults(plan: TrainSettings, pretrained: str | None) -> list[str]:
    """List errors of a backbone whose last head no stage trains: it must have a trained one, and
    the depth that it was tuned with.

    Args:
        pretrained: folder of the backbone; a name on the hub is only checked after download.
    """
    num_layers = plan.encoder["num_layers"]
    stages = plan.methods.schedule.stages(1, sorted({*plan.head["layers"], num_layers}))
    if any(stage.moves(f"heads.{num_layers}.classes.weight") for stage in stages):
        return []
    wants = "schedule.backbone_share=0 is for a tuned model: "
    if not has_classes(pretrained):
        return [
            f"{wants}encoder.pretrained must be the model folder of a run, or a classifier's, "
            f"got {pretrained}"
        ]
    depth = depth_of(pretrained)
    if depth in (None, num_layers):
        return []
    return [f"{wants}encoder.num_layers must be {depth}, as its classifier has, got {num_layers}"]


def sharing_faults(plan: TrainSettings) -> list[str]:
    """List the error of a batch with fewer examples than processes, which would leave some idle."""
    size, wanted = plan.data.get("batch_size"), num_processes(plan.trainer)
    if size is not None and not plan.data.get("tokens_per_batch") and size < wanted:
        counts = "data.batch_size counts all processes' examples"
        return [f"{counts}: must be {wanted} or more, got {size}"]
    return []


def wants_teacher(objective: Objective) -> bool:
    """True if an objective needs a teacher's logits or its hidden states."""
    return objective.wants_teacher or "teacher_hidden" in objective.wants


def without_foreign_keys(
    config: dict[str, Any], overrides: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Drop settings that the methods of a sweep's job do not take, and print which.

    A sweep over models may set a tau, for example, which only those with exits use.
    """
    config, kept = dict(config), []
    for override in overrides:
        slot, _, name = override.lstrip("+").partition("=")[0].partition(".")
        method = target(config[slot]) if slot in METHODS and override.startswith("++") else None
        if method is None or not name or name in inspect.signature(method).parameters:
            kept.append(override)
            continue
        config[slot] = {key: v for key, v in config[slot].items() if key != name}
        print(
            f"{override.lstrip('+')} is left out for model={config['model']}: "
            f"its {slot} is {method.__name__}"
        )
    return config, kept


def check_resume(folder: Path) -> None:
    """Reject a last.ckpt that is not a checkpoint of plain values, before data is read."""
    path = folder / "last.ckpt"
    if not path.is_file():
        return
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, KeyError, EOFError):
        raise ConfigError(
            f"{path}: not a checkpoint to resume from: delete it to train from the start"
        ) from None
    for key in ("state_dict", "optimizer_states", "loops", "callbacks"):
        if not isinstance(content, dict) or key not in content:
            raise ConfigError(f"{path}: lacks {key}: delete it to train from the start")
