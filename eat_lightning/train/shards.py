"""Fully sharded data parallel (Zhao et al. 2023; ZeRO, Rajbhandari et al. 2020), for a backbone
whose gradients and moments do not fit beside each other.

Between steps a process holds its part of the weights, and always of gradients and of the
optimizer's moments; during a step it holds all weights. Losses are those of one process.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from eat_lightning.train.processes import PATIENCE, end_at_sigterm, prepare, started_outside


class Shards(ModelParallelStrategy):
    """threads: of each process; None: the processor's, shared between them."""

    def __init__(self, threads: int | None = None):
        super().__init__(save_distributed_checkpoint=False, timeout=PATIENCE)
        self.threads, self.ours = threads, started_outside() == 1
        if self.ours:
            self.cluster_environment = LightningEnvironment()

    def _configure_launcher(self) -> None:
        if self.ours:
            self._launcher = _MultiProcessingLauncher(self, start_method="spawn")

    def setup_environment(self) -> None:
        prepare(self.threads)
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def on_train_start(self) -> None:
        end_at_sigterm()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Moments as one process saves them, in the process that writes; {} in the others.

        Lightning counts parameters in the module's order, an optimizer in that of its groups: a
        run could not go on with another number of processes.
        """
        module: Any = self.model
        optimizer = getattr(optimizer, "optimizer", optimizer)  # Lightning wraps it
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_optimizer_state_dict(module, optimizer, options=options)
        index = {name: i for i, name in enumerate(names_of(optimizer, module))}
        return renamed(state, index) if state else state

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:
        """Load weights and moments, which any number of processes saved; gives all else."""
        module: Any = self.model
        path = self.broadcast(checkpoint_path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=weights_only, mmap=True)
        load_whole(module, checkpoint.pop("state_dict"))
        options = StateDictOptions(full_state_dict=True)
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            named = renamed(state, dict(enumerate(names_of(optimizer, module))))
            set_optimizer_state_dict(module, optimizer, named, options=options)
        return checkpoint


def names_of(optimizer: Any, module: nn.Module) -> list[str]:
    """Parameters' names in the order of an optimizer's groups, by which it numbers them."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def renamed(state: dict[str, Any], to: Mapping[Any, Any]) -> dict[str, Any]:
    """An optimizer's state with other keys for its parameters."""
    groups = [g | {"params": [to[p] for p in g["params"]]} for g in state["param_groups"]]
    return {"state": {to[p]: s for p, s in state["state"].items()}, "param_groups": groups}


def shard(module: Any) -> None:
    """Share out a LightningModule's parameters. Its steps take no argument: torch would move one to
    the device in a way of its own."""
    module.plain = [copy.deepcopy(module.encoder), copy.deepcopy(module.objective)]
    fully_shard(module, mesh=module.device_mesh["data_parallel"])
    for step in ("step", "look"):
        register_fsdp_forward_method(module, step)


def whole(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights, each with all of its parts. Every process must ask, and is given them."""
    return {n: w.full_tensor() if isinstance(w, DTensor) else w for n, w in weights.items()}


def load_whole(module: Any, weights: Mapping[str, Any]) -> None:
    """Load what `whole` gave into a module, whose parameters may be shared out."""
    if module.device_mesh is None:
        module.load_state_dict(weights)
    else:
        whole = StateDictOptions(full_state_dict=True)
        set_model_state_dict(module, dict(weights), options=whole)


class Gather(Callback):
    """When training ends, behind the choice of weights: an encoder again that a process can run by
    itself."""

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if pl_module.device_mesh is None:
            return
        weights = whole(pl_module.state_dict())
        for name, plain in zip(("encoder", "objective"), pl_module.plain, strict=True):
            if isinstance(plain, nn.Module):
                of_it = {n: w for n, w in weights.items() if n.startswith(f"{name}.")}
                plain.load_state_dict({n.removeprefix(f"{name}."): w for n, w in of_it.items()})
            setattr(pl_module, name, plain)
