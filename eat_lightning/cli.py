"""The entry of a command: overrides in, a resolved config to a function, an exit status out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from eat_lightning.composing import compose_or_explain
from eat_lightning.config import CONFIG_DIR, plain
from eat_lightning.errors import ConfigError, reported
from eat_lightning.overrides import NO_NAMES, for_hydra
from eat_lightning.process import end_with_the_reader, keep_freed_memory, quiet_exit
from eat_lightning.user_modules import warn_of_absent
from eat_lightning.validation import Misshaped

SHOWN = ("--cfg", "-c", "--info", "-i", "--hydra-help")  # by Hydra, instead of any work


def entry(
    name: str,
    command: Callable[..., Any],
    many: str | None = None,
    sweeps: bool = False,
    folder: str = CONFIG_DIR,
    renamed: Mapping[str, str] = NO_NAMES,
    kept: str = "",
) -> Callable[[], None]:
    """Make the `main` of a command.

    Args:
        name: of its yaml, without the ending.
        command: called with the resolved config. An `int` that it returns is a number of bad
            inputs: status 1 from one on.
        many: a key of paths that may be given several times (run=a run=b).
        sweeps: each job of Hydra's multirun calls the command, with `overrides` and `multirun`
            too. Hydra's sweeper gets what it returns.
        folder: where the yaml lies.
        renamed: keys as a person types them -> as the yaml has them.
        kept: what Ctrl-C leaves, and how to go on.
    """

    def job(cfg: DictConfig) -> Any:
        # Hydra's root logger would show matplotlib's notes on its font cache.
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
        state = HydraConfig.get()
        multirun = state.mode == RunMode.MULTIRUN
        context = {"overrides": list(state.overrides.task), "multirun": multirun} if sweeps else {}
        # In a multirun the other jobs still run; after them Hydra prints the first error.
        with quiet_exit(kept), nullcontext() if multirun else reported():
            try:
                returned = command(plain(cfg), **context)
            except Misshaped as error:
                raise ConfigError(str(error)) from None
            if isinstance(returned, int) and returned and not sweeps:
                raise SystemExit(1)
            return returned

    job.__module__ = f"eat_lightning.{name}"  # hydra.job.name, which launchers put on their jobs

    def main() -> None:
        sys.path.insert(0, "")  # a person's modules in the current folder, as `python -m` does
        warn_of_absent()
        keep_freed_memory()
        sys.argv[1:] = for_hydra(sys.argv[1:], many, sweeps, renamed)
        if any(argument.startswith(SHOWN) for argument in sys.argv[1:]):
            end_with_the_reader()
        with quiet_exit():
            compose_or_explain(name, sys.argv[1:], folder)
            hydra.main(config_path=folder, config_name=name, version_base="1.3")(job)()

    return main
