"""Errors of a command line: a config is composed once to name all of them, each in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eat_lightning.config import CONFIG_DIR, plain
from eat_lightning.errors import ConfigError, Faults, in_one_line, reported
from eat_lightning.overrides import NO_NAMES, first_of_sweep, quoted
from eat_lightning.validation import did_you_mean

EXTRAS = {  # launchers and sweepers: the distribution they need, and the extra that brings it
    "hydra/launcher=slurm": ("hydra-submitit-launcher", "slurm"),
    "hydra/launcher=joblib": ("hydra-joblib-launcher", "joblib"),
    "hydra/sweeper=search": ("hydra-optuna-sweeper", "search"),
}


@reported()
def compose_or_explain(
    config_name: str,
    words: list[str],
    folder: str = CONFIG_DIR,
    renamed: Mapping[str, str] = NO_NAMES,
) -> None:
    """Compose before Hydra's main does, which prints five lines for an unknown key.

    Of a sweep the first job is composed. An error ends the process: a line for each, status 1.

    Args:
        renamed: keys as a person types them -> as the yaml has them.
    """
    given, unknown = get_args_parser().parse_known_args(words)
    if unknown:
        raise ConfigError(f"{unknown[0]} is not a flag: --help shows examples, --hydra-help flags")
    only_shows = (given.help, given.hydra_help, given.shell_completion, given.info)
    if any((*only_shows, given.config_name, given.config_path, given.experimental_rerun)):
        return
    overrides = given.overrides
    if given.config_dir:
        theirs = Path(given.config_dir)
        if not theirs.is_dir():
            raise ConfigError(f"--config-dir: there is no folder {theirs}")
        overrides = [*overrides, f"hydra.searchpath=[{quoted(f'file://{theirs.resolve()}')}]"]
    check_extras(overrides)
    overrides = first_of_sweep(overrides) if given.multirun else overrides
    Faults(errors_of(config_name, overrides, folder, renamed)).check()


@reported()
def choices_of(config_name: str, words: list[str], folder: str = CONFIG_DIR) -> dict[str, str]:
    """The choice of each group, where one is chosen."""
    given, _ = get_args_parser().parse_known_args(words)
    overrides = first_of_sweep(given.overrides) if given.multirun else given.overrides
    Faults(errors_of(config_name, overrides, folder)).check()
    with config_dir(folder):
        config = compose(config_name, overrides=overrides, return_hydra_config=True)
    chosen = config.hydra.runtime.choices
    return {str(group): choice for group, choice in chosen.items() if isinstance(choice, str)}


@contextmanager
def config_dir(folder: str) -> Iterator[None]:
    """Let Hydra compose from a folder. Within a job of Hydra, its state is put back at the end."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(folder, version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = before


def composed(
    config_name: str, overrides: Sequence[str] = (), settings: Mapping[str, Any] = NO_NAMES
) -> dict[str, Any]:
    """Return the resolved config of a command, for Python code that calls it. Raises ConfigError
    with a line for every unknown choice.

    Args:
        overrides: choices of groups.
        settings: values that replace those of the yamls, nested as these are.
    """
    Faults(errors_of(config_name, [*overrides], CONFIG_DIR)).check()
    with config_dir(CONFIG_DIR):
        usual = compose(config_name, overrides=[*overrides])
    OmegaConf.set_struct(usual, False)
    config: Any = OmegaConf.merge(usual, dict(settings))
    return plain(config)


def check_extras(overrides: list[str]) -> None:
    """Raise ConfigError for a launcher or sweeper that is not installed."""
    for choice in EXTRAS.keys() & set(overrides):
        needed, extra = EXTRAS[choice]
        try:
            distribution(needed)
        except PackageNotFoundError:
            raise ConfigError(f"{choice}: pip install 'eat_lightning[{extra}]'") from None


def errors_of(
    config_name: str,
    overrides: list[str],
    folder: str,
    renamed: Mapping[str, str] = NO_NAMES,
) -> list[str]:
    """Return a line for every unknown key and choice.

    Hydra stops at the first: each is left out, and the rest composed again. Another error of Hydra
    ends the search.
    """
    unknown: list[Unknown] = []
    while True:
        try:
            with config_dir(folder):
                config = compose(config_name, overrides=overrides)
            return [item.message(config, renamed) for item in unknown]
        except (HydraException, OmegaConfBaseException) as error:
            message = in_one_line(f"{error}\n{error.__cause__ or ''}")
        except ValueError:  # Hydra's own, which does not say of which group
            nulls = [o.removesuffix("=null") for o in overrides if o.endswith("=null")]
            return [
                f"{key} must be one of {', '.join(choices)}, got null"
                for key in nulls
                if (choices := sorted(path.stem for path in Path(folder, key).glob("*.yaml")))
            ]
        if "Ambiguous value" in message:  # Hydra's advice on sweeps is good as it is
            return []
        if wrong := next((word for word in overrides if not readable(word)), None):
            if "=" not in wrong:
                return [f"{wrong} is not a setting: settings are given as key=value"]
            quotes = "put a value with spaces or brackets into quotes, whole"
            return [f"{wrong} cannot be read: {quotes}"]
        item = Unknown.parse(message)
        rest = [o for o in overrides if item is None or o.partition("=")[0] != item.key]
        if item is None or rest == overrides:
            return [*(other.message(None) for other in unknown), message]
        unknown.append(item)
        overrides = rest


def readable(word: str) -> bool:
    """True for what Hydra's grammar takes."""
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


@dataclass
class Unknown:
    """A key that no config has, or a choice that its group lacks, with the group's choices."""

    key: str
    choice: str | None = None
    choices: tuple[str, ...] = ()

    @classmethod
    def parse(cls, message: str) -> Unknown | None:
        """Read Hydra's message; None for another error."""
        choice = re.match(r"Could not find '(.+)/(.+?)'; Available options in .+?: (.*)", message)
        if choice:
            return cls(choice[1], choice[2], tuple(choice[3].split("; ")))
        key = re.match(r"Could not override '(.+?)'", message)
        return cls(key[1]) if key else None

    def message(self, config: DictConfig | None, renamed: Mapping[str, str] = NO_NAMES) -> str:
        """Describe it, with the nearest name.

        Args:
            config: composed of the other overrides, with the known keys; None where it fails.
            renamed: keys as a person types them -> as the yaml has them.
        """
        if self.choice is not None:
            yaml = f"; one's own: --config-dir <the folder that has {self.key}/{self.choice}.yaml>"
            near = did_you_mean(self.choice, self.choices) or yaml
            return f"{self.key} must be one of {', '.join(self.choices)}, got {self.choice}{near}"
        typed = {key: name for name, key in renamed.items()}
        known = [] if config is None else [typed.get(key, key) for key in dotted_keys(config)]
        slot, _, name = self.key.rpartition(".")
        beside = [key.removeprefix(f"{slot}.") for key in known if key.startswith(f"{slot}.")]
        if slot in ("exit", "reduction") and not get_close_matches(name, beside):
            # A class of one's own has arguments that a command's yaml does not list.
            return f"{self.key} is not an option: of a class of one's own, +{self.key}=..."
        near = did_you_mean(self.key, known)
        return f"{self.key} is not an option{near or ': --help-all lists all'}"


def dotted_keys(config: DictConfig) -> Iterable[str]:
    """Yield every key of a config: "reduction", "reduction.ratio"."""
    for key in map(str, config):
        yield key
        inner = OmegaConf.select(config, key, throw_on_resolution_failure=False)
        if isinstance(inner, DictConfig):
            yield from (f"{key}.{name}" for name in dotted_keys(inner))
