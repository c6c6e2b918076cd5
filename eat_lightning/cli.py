"""The entry of a command: words in, a resolved config to a function, an exit status out."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from eat_lightning.command_help import CommandHelp
from eat_lightning.composing import choices_of, compose_or_explain
from eat_lightning.config import CONFIG_DIR, plain
from eat_lightning.errors import ConfigError, reported
from eat_lightning.files import as_dict
from eat_lightning.overrides import as_settings, for_hydra
from eat_lightning.process import end_with_the_reader, keep_freed_memory, quiet_exit
from eat_lightning.user_modules import warn_of_absent
from eat_lightning.validation import Misshaped

SHOWN = ("--cfg", "-c", "--info", "-i", "--hydra-help")  # by Hydra, instead of any work
JSON = {"json=true", "format=json"}  # `--json` is the former


@dataclass
class Command:
    """The `main` of a command.

    Args:
        name: of its yaml, without the ending.
        function: called with the resolved config. An `int` that it returns is a number of bad
            inputs: status 1 from one on.
        many: a key of paths that may be given several times (run=a run=b).
        sweeps: each job of Hydra's multirun calls the function, with `overrides` and `multirun`
            too. Hydra's sweeper gets what it returns.
        folder: where the yaml lies.
        renamed: keys as a person types them -> as the yaml has them.
        moved: keys of an earlier version -> the command that has them now.
        kept: what Ctrl-C leaves, and how to go on.
        summary: makes what `--json` prints of what the function returns; None where a command has
            no `--json`.
        status: the exit status of what the function returns; None: see `function`.
    """

    name: str
    function: Callable[..., Any]
    many: str | None = None
    sweeps: bool = False
    folder: str = CONFIG_DIR
    renamed: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""
    summary: Callable[[Any], dict[str, Any]] | None = None
    status: Callable[[Any], int] | None = None
    prints_json: bool = False

    @cached_property
    def help(self) -> CommandHelp:
        path = Path(self.folder, f"{self.name}.yaml")
        return CommandHelp(path, self.renamed, has_json=self.summary is not None)

    def __call__(self) -> None:
        sys.path.insert(0, "")  # a person's modules in the current folder, as `python -m` does
        words = as_settings(sys.argv[1:], self.help.switches)
        with quiet_exit():
            if {"--help", "-h"} & {*words}:
                print(self.help.short())
            elif "--help-all" in words:
                print(self.help_all([word for word in words if word != "--help-all"]))
            else:
                self.run(words)

    def help_all(self, words: list[str]) -> str:
        return self.help.whole(choices_of(self.name, self.read(words), self.folder))

    def run(self, words: list[str]) -> None:
        """Run the function, or show what Hydra shows, such as the config."""
        for key in self.moved.keys() & {word.partition("=")[0] for word in words}:
            sys.exit(f"error: {key}= is now {self.moved[key]}")
        warn_of_absent()
        keep_freed_memory()
        self.prints_json = self.summary is not None and bool(JSON & {*words})
        left = [word for word in words if word not in JSON] if self.prints_json else words
        sys.argv[1:] = self.read(left)
        if any(argument.startswith(SHOWN) for argument in sys.argv[1:]):
            end_with_the_reader()
        compose_or_explain(self.name, sys.argv[1:], self.folder, self.renamed)

        def job(cfg: DictConfig) -> Any:
            return self.job(cfg)

        job.__module__ = f"eat_lightning.{self.name}"  # hydra.job.name, which launchers put on jobs
        hydra.main(config_path=self.folder, config_name=self.name, version_base="1.3")(job)()

    def read(self, words: list[str]) -> list[str]:
        return for_hydra(words, self.many, self.sweeps, self.renamed)

    def job(self, cfg: DictConfig) -> Any:
        """Call the function with one config."""
        # Hydra's root logger would show matplotlib's notes on its font cache.
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
        state = HydraConfig.get()
        multirun = state.mode == RunMode.MULTIRUN
        context: dict[str, Any] = {}
        if self.sweeps:
            context = {"overrides": list(state.overrides.task), "multirun": multirun}
        # In a multirun the other jobs still run; after them Hydra prints the first error.
        with quiet_exit(self.kept), nullcontext() if multirun else reported():
            returned = self.answer(plain(cfg), context)
            if self.status is not None and (status := self.status(returned)):
                raise SystemExit(status)
            if isinstance(returned, int) and returned and not self.sweeps:
                raise SystemExit(1)
            return returned

    def answer(self, config: dict[str, Any], context: dict[str, Any]) -> Any:
        """Call the function; with `--json`, only a JSON object goes to standard output."""
        output = redirect_stdout(sys.stderr) if self.prints_json else nullcontext()
        try:
            with output:
                returned = self.function(config, **context)
        except Misshaped as error:
            raise ConfigError(str(error)) from None
        if self.prints_json and self.summary is not None:
            print(json.dumps(self.summary(returned), default=as_dict))
        return returned


def entry(name: str, function: Callable[..., Any], many: str | None = None, **more: Any) -> Command:
    """The `main` of a command; see `Command` for its arguments."""
    return Command(name, function, many, **more)
