"""A sweep's jobs as tasks of a Ray cluster: `hydra/launcher=ray`.

Not `hydra-ray-launcher`: it cannot join a cluster that runs already unless two of its settings are
undone, loses the answers of all jobs with one whose worker dies for good, gives the jobs neither
the folder nor the environment they were asked from, and holds cloudpickle below 3.

`train` registers it with Hydra. Ray itself is imported where a sweep begins.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from eat_lightning.cluster import join_ray
from eat_lightning.errors import ConfigError

HANDED = ("EAT_", "HF_", "WANDB_")  # what begins so in the environment goes with a job


class RayLauncher(Launcher):
    """address: of the cluster's head; "auto": RAY_ADDRESS, or the one on this machine. num_cpus,
    num_gpus: what a job takes of its node. max_retries: how often a job is begun again whose worker
    or node died; -1: always."""

    def __init__(self, address: str, num_cpus: float, num_gpus: float, max_retries: int):
        self.address = address
        # A process for each job, as everywhere else: the next one must not find what this one left.
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_calls": 1}
        self.resources |= {"max_retries": max_retries}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs, as many at once as the cluster has room for, and wait for all of them.
        ConfigError where no cluster answers."""
        # As Ray is imported: each job's lines come whole, also those that another one prints too.
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
        import ray

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        join_ray("hydra.launcher.address", self.address)
        run = ray.remote(**self.resources)(run_here)
        handed = {key: value for key, value in os.environ.items() if key.startswith(HANDED)}
        tasks = []
        for place, overrides in enumerate(job_overrides):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = initial_job_idx + place
            state = Singleton.get_state()
            job = run.options(name=f"job {config.hydra.job.num}")  # before each line that it prints
            tasks.append(
                job.remote(self.context, self.function, config, state, os.getcwd(), handed)
            )
        return [finished(task, o) for task, o in zip(tasks, job_overrides, strict=True)]


def register() -> None:
    """Have Hydra find the launcher, which it takes by a name within `hydra_plugins` alone: this
    module stands there, too."""
    try:
        package = importlib.import_module("hydra_plugins")
    except ModuleNotFoundError:  # no other plugin is installed
        package = module_from_spec(ModuleSpec("hydra_plugins", None, is_package=True))
        sys.modules["hydra_plugins"] = package
    here = sys.modules[__name__]
    sys.modules["hydra_plugins.eat_lightning"] = package.eat_lightning = here  # pyright: ignore[reportAttributeAccessIssue]
    RayLauncher.__module__ = "hydra_plugins.eat_lightning"
    Plugins.instance().register(RayLauncher)


def run_here(
    context: HydraContext,
    function: TaskFunction,
    config: DictConfig,
    singletons: Any,
    folder: str,
    environment: dict[str, str],
) -> JobReturn:
    """Run a job as the process that asked for it would: in its folder, on a file system that all
    nodes share, and with its settings in the environment."""
    os.chdir(folder)
    os.environ.update(environment)
    setup_globals()
    Singleton.set_state(singletons)
    HydraConfig.instance().set_config(config)
    return run_job(function, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def finished(task: Any, overrides: Sequence[str]) -> JobReturn:
    """Return a job's result, or a failed one if the cluster lost the job for good. The launcher can
    then wait for the other jobs."""
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(task)
    except RayError as error:
        message = str(error).strip().partition("\n")[0]
        lost = ConfigError(
            f"{' '.join(overrides)}: {message} (the same command goes on from there)"
        )
        return JobReturn(overrides, status=JobStatus.FAILED, _return_value=lost)
