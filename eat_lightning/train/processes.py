"""Training on several processes: how they start, how they connect, and errors if one dies.

On one machine, a parent process starts and monitors the ranks, in a sweep too. Lightning's own
launcher would run the whole command again for each rank, and so start the sweep again. If torchrun
or srun started the command once for each rank, this process is one of them.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessException

from eat_lightning.errors import ConfigError
from eat_lightning.validation import Count, value_faults

# Whoever started a rank sees it die; this bounds only waits for one that is at work, as with data
# that it has yet to read.
PATIENCE = timedelta(days=1)
# What is left of a process whose companion died: Gloo, NCCL and torch's store say so.
LOST = re.compile(r"Connection (closed|reset|refused)|gloo|NCCL|DistNetworkError|SIGTERMException")


def is_first_process() -> bool:
    """True where this process writes the run's folder: False in every rank but the first."""
    return getattr(rank_zero_only, "rank", 0) == 0


def started_outside() -> int:
    """Number of processes that torchrun or srun started for this command; 1 without them."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ.get("WORLD_SIZE", 1))
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) if "SLURM_PROCID" in os.environ else 1


def num_devices(trainer: dict[str, Any]) -> int:
    """Number of processes or GPUs on one machine."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, list):
        return len(devices)
    if str(devices) in ("auto", "-1"):
        return torch.cuda.device_count() if on_gpu(trainer) else 1
    return int(devices)


def num_processes(trainer: dict[str, Any]) -> int:
    return num_devices(trainer) * trainer.get("num_nodes", 1)


def on_gpu(trainer: dict[str, Any]) -> bool:
    return trainer.get("accelerator") in ("gpu", "cuda")


class Ranks(DDPStrategy):
    """DDP (Li et al. 2020) on ranks started here or by a launcher.

    Args:
        threads: of each process; None: the processor's, shared evenly.
        looks: search for parameters without a gradient.
    """

    def __init__(self, threads: int | None = None, looks: bool = True):
        started = started_outside() > 1
        super().__init__(
            cluster_environment=None if started else LightningEnvironment(),
            timeout=PATIENCE,
            start_method="popen" if started else "spawn",  # no fork: torch's threads have run
            find_unused_parameters=looks,
        )
        self.threads = threads

    def setup_environment(self) -> None:
        quiet()  # a new process knows nothing of its parent's settings
        if self.threads:
            torch.set_num_threads(self.threads)
        super().setup_environment()

    def on_train_start(self) -> None:
        """Let a rank end when its parent sends SIGTERM after another rank died. Lightning would
        first try to notify the other ranks, and print a long message that it cannot.
        """
        if started_outside() == 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def process_faults(trainer: dict[str, Any]) -> list[str]:
    """List errors in devices, strategy and accelerator, for this machine and launcher."""
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if faults := count_faults(devices, nodes) or device_faults(trainer):
        return faults
    strategy, started = str(trainer.get("strategy", "auto")), started_outside()
    wanted = num_processes(trainer)
    if strategy not in ("auto", "ddp"):
        return [f"trainer.strategy must be auto or ddp, got {strategy}"]
    if started > 1 and started != wanted:
        return [
            f"trainer.devices={devices} times trainer.num_nodes={nodes} must be the {started} "
            "processes that torchrun or srun started: give trainer=ddp trainer.devices=..."
        ]
    if strategy == "ddp" and wanted == 1 and started == 1:
        return [f"trainer.strategy=ddp is for two processes or more, got {devices}"]
    if nodes > 1 and started == 1:
        return [
            f"trainer.num_nodes={nodes}: start the command on each machine, by torchrun or srun"
        ]
    return []


def count_faults(devices: Any, nodes: Any) -> list[str]:
    faults = []
    known = devices in ("auto", "-1", -1) or (isinstance(devices, list) and devices)
    text = str(devices)
    if not known and (isinstance(devices, bool) or not text.isdigit() or int(text) < 1):
        faults.append(f"trainer.devices must be 1 or more, auto, or a list of GPUs, got {devices}")
    return faults + value_faults(Count, "trainer.num_nodes", nodes)


def device_faults(trainer: dict[str, Any]) -> list[str]:
    """List the error of an accelerator that is absent or has too few devices."""
    if not on_gpu(trainer):
        return []
    accelerator = trainer["accelerator"]
    there, wanted = torch.cuda.device_count(), num_devices(trainer)
    if not there:
        return [f"trainer.accelerator={accelerator}: there is no GPU here that torch can use"]
    if wanted > there:
        return [f"trainer.devices={trainer['devices']}: this machine has {there}"]
    return []


@contextmanager
def watched(trainer: Trainer, last: Path) -> Iterator[None]:
    """Report a process that dies during training, or finds an invalid setting, in one line.

    Args:
        last: the checkpoint from which the same command resumes.
    """
    try:
        yield
    except ProcessException as error:  # of processes that we started
        codes = [process.exitcode for process in getattr(trainer.strategy.launcher, "procs", ())]
        if (message := how_it_died(error, codes)) is None:
            raise
        raise ConfigError(
            message if "ConfigError" in error.msg else message + goes_on(last)
        ) from None
    except RuntimeError as error:  # this process is a rank, and has lost another
        if started_outside() > 1 and LOST.search(str(error)):
            raise ConfigError("another process of this run died" + goes_on(last)) from None
        raise
    finally:
        if started_outside() == 1:
            os.environ.pop("MASTER_PORT", None)  # else the next job of a sweep would take it too


def how_it_died(error: ProcessException, codes: list[int | None]) -> str | None:
    """Return in one line why the ranks ended. None means a bug in code, which needs its traceback.

    The rank whose end is noticed first may only have lost its connection to another one.

    Args:
        codes: exit codes by rank.
    """
    ranks = [error.error_index, *range(len(codes))]  # one that hangs is killed after the first
    for rank, code in ((rank, codes[rank]) for rank in ranks if rank < len(codes)):
        # Those that are left are ended by SIGTERM.
        if code is not None and code < 0 and code != -signal.SIGTERM:
            memory = ", as for lack of memory" if code == -signal.SIGKILL else ""
            name = signal.Signals(-code).name
            return f"process {rank} of {len(codes)} was killed ({name}{memory})"
    if "ConfigError: " in error.msg:
        return error.msg.rpartition("ConfigError: ")[2].strip()
    if LOST.search(error.msg) or "signal SIGTERM" in error.msg:
        return (
            f"process {error.error_index} of {len(codes)} was ended or lost contact with the others"
        )
    return None


def goes_on(last: Path) -> str:
    """Describe how the same command resumes from the last checkpoint."""
    if not last.is_file():
        return "; nothing was saved yet: the same command starts again"
    step = torch.load(last, map_location="cpu", weights_only=True, mmap=True)["global_step"]
    return f"; the same command resumes from step {step} ({last})"


def quiet() -> None:
    """Silence Lightning's log messages; callbacks print the relevant ones."""
    import lightning.pytorch  # noqa: F401  sets its level when it is first imported

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # we say who died
    # Lightning 2.6's own, on torch 2.13.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    warnings.filterwarnings("ignore", message="The number of training batches")
    # torchmetrics has gathered these already.
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
