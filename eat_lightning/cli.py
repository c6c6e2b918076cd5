"""The one entry of all commands: overrides in, a resolved config to a function, a status out."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eat_lightning.bounds import Misshaped, did_you_mean
from eat_lightning.config import CONFIG_DIR, plain
from eat_lightning.errors import ConfigError
from eat_lightning.own import warn_of_absent


def entry(
    name: str,
    command: Callable[..., Any],
    many: str | None = None,
    sweeps: bool = False,
    folder: str = CONFIG_DIR,
) -> Callable[[], None]:
    """Make `main` of a command, for `python -m` and for its console script.

    name: of its yaml. command: takes the resolved config; where it returns a number of
    bad inputs (an `int`), one or more end in status 1. many: the key that may be given several
    times (run=a run=b). sweeps: it runs as a job of Hydra's multirun, and takes `overrides` and
    `multirun` too; what it returns then goes to the sweeper.
    """

    def job(cfg: DictConfig) -> Any:
        returned = run_job(command, cfg, sweeps)
        if not sweeps and isinstance(returned, int) and returned:
            raise SystemExit(1)
        return returned

    job.__module__ = f"eat_lightning.{name}"  # hydra.job.name, which launchers put on their jobs

    def main() -> None:
        sys.argv[1:] = [word for given in sys.argv[1:] for word in HELP_ALL.get(given, [given])]
        sys.path.insert(0, "")  # as `python -m` does: classes of one's own in the current folder
        warn_of_absent()
        keep_freed_memory()
        quoted = [with_path_quoted(argument) for argument in sys.argv[1:]]
        sys.argv[1:] = with_paths_listed(sys.argv[1:], many) if many else quoted
        if sweeps:
            sys.argv[1:] = [with_key_added(argument) for argument in sys.argv[1:]]
        compose_or_explain(name, sys.argv[1:], folder)
        hydra.main(config_path=folder, config_name=name, version_base="1.3")(job)()

    return main


def keep_freed_memory() -> None:
    """Let glibc keep 128 MB of what a batch frees for the next one: pages that go back to the
    system are filled with zeros when they come again, which took a third of int8's time. MALLOC_*
    in the environment goes before it."""
    asked = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    here = sys.platform == "linux" and not asked
    if mallopt := here and getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 128 << 20)


def run_job(command: Callable[..., Any], cfg: DictConfig, sweeps: bool) -> Any:
    """Run a command inside Hydra's frame, which would print what ends it at length."""
    # Hydra's root logger shows what others tell of themselves: matplotlib, its new font cache.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    hydra_config = HydraConfig.get()
    multirun = hydra_config.mode == RunMode.MULTIRUN
    overrides = list(hydra_config.overrides.task)
    context = {"overrides": overrides, "multirun": multirun} if sweeps else {}
    try:
        return command(plain(cfg), **context)
    except (ConfigError, Misshaped) as error:
        if multirun:  # the other jobs still run; where they end, Hydra prints the first error
            raise ConfigError(str(error)) from None
        end_on(str(error).splitlines())
    except BrokenPipeError:  # nobody reads on, as with `| head`: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise SystemExit(130) from None


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
HELP_ALL = {"--help-all": ["--help", "hydra/help=all"]}  # `--help` takes hydra/help=short
METHODS = ("attention", "reduction", "exit", "objective", "schedule")
PATHS = {"teacher", "encoder.pretrained", "data.dir", "log", "token_file", "onnx"}
PATHS |= {"onnx_static"}


def quoted(path: str) -> str:
    """Make a path a value that Hydra takes whole: runs of version 0.1 have "=", "," and brackets in
    their names, which are also Hydra's grammar."""
    return "'" + path.replace("'", "\\'") + "'"


def with_path_quoted(argument: str) -> str:
    """run=..., to=... and output=..., and other keys of paths where the value names something that
    is there; against=..., a name with commas."""
    key, _, value = argument.partition("=")
    if not value or value[0] in "'\"[":
        return argument
    is_whole = key in ("run", "to", "output", "against")
    is_path = is_whole or (key in PATHS and Path(value).exists())
    return f"{key}={quoted(value)}" if is_path else argument


def with_paths_listed(given: list[str], key: str) -> list[str]:
    """All run=... (or another key of paths) as one that Hydra can read."""
    values = [a.partition("=")[2] for a in given if a.startswith(f"{key}=")]
    paths = [path for value in values for path in listed(value)]
    others = [with_path_quoted(a) for a in given if not a.startswith(f"{key}=")]
    return [*others, f"{key}=[{','.join(map(quoted, paths))}]"] if paths else given


def listed(value: str) -> list[str]:
    """The paths in "[a,b]": a comma ends a path only where a file has that name."""
    if not (value.startswith("[") and value.endswith("]")) or Path(value).exists():
        return [value.strip("'\"")]
    paths, begun = [], ""
    for piece in value[1:-1].split(","):
        begun = f"{begun},{piece}" if begun else piece.strip()
        if Path(begun.strip("'\" ")).exists():
            paths.append(begun.strip("'\" "))
            begun = ""
    return [*paths, begun] if begun else paths


def with_key_added(argument: str) -> str:
    """Give a method's setting (exit.tau=...) Hydra's "++": of a sweep over models, some may lack
    it, which the command says, where Hydra would refuse them all."""
    slot, _, name = argument.partition("=")[0].partition(".")
    shelf = Path(CONFIG_DIR, slot).glob("*.yaml") if slot in METHODS and name else ()
    known = any(re.search(rf"^{re.escape(name)}:", f.read_text("utf-8"), re.M) for f in shelf)
    return f"++{argument}" if known else argument


def compose_or_explain(config_name: str, overrides: list[str], folder: str = CONFIG_DIR) -> None:
    """Compose once before Hydra's main does, to say what is wrong in one line.

    Hydra prints five for an unknown key. Of a sweep the first job is composed; what has flags of
    Hydra's own is left to Hydra.
    """
    sweeps = any(o in ("-m", "--multirun") for o in overrides)
    overrides = with_own_configs([o for o in overrides if o not in ("-m", "--multirun")])
    if any(o.startswith("-") for o in overrides):
        return
    check_extras(overrides)
    end_on(faults_of(config_name, firsts(overrides) if sweeps else overrides, folder))


def end_on(faults: list[str]) -> None:
    """End with status 1 and a line for each fault, where there are any."""
    if faults:
        print("\n".join(f"error: {fault}" for fault in faults), file=sys.stderr)
        raise SystemExit(1)


def faults_of(config_name: str, overrides: list[str], folder: str = CONFIG_DIR) -> list[str]:
    """A line for every key and choice that is not known: each is left out, and the rest composed
    again, until it is sound. What else Hydra says ends the search."""
    unknown: list[Unknown] = []
    while True:
        try:
            with initialize_config_dir(folder, version_base="1.3"):
                config = compose(config_name, overrides=overrides)
            return [found.fault(config) for found in unknown]
        except (HydraException, OmegaConfBaseException) as error:
            said = in_one_line(f"{error}\n{error.__cause__ or ''}")
        if "Ambiguous value" in said:  # Hydra's advice on sweeps is good as it is
            return []
        found = Unknown.of(said)
        left = [o for o in overrides if found is None or o.partition("=")[0] != found.key]
        if found is None or left == overrides:
            return [*(other.fault(None) for other in unknown), said]
        unknown.append(found)
        overrides = left


@dataclass
class Unknown:
    """A key that Hydra does not know, or a choice with those that there are."""

    key: str
    choice: str | None = None
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, said: str) -> Unknown | None:
        if choice := re.match(r"Could not find '(.+)/(.+?)'; Available options in .+?: (.*)", said):
            return cls(choice[1], choice[2], tuple(choice[3].split("; ")))
        key = re.match(r"Could not override '(.+?)'", said)
        return cls(key[1]) if key else None

    def fault(self, config: DictConfig | None) -> str:
        """config: of the other overrides, one of whose keys may be meant; None: it is unsound."""
        if self.choice is not None:
            own = f"; one's own: --config-dir <the folder that has {self.key}/{self.choice}.yaml>"
            near = did_you_mean(self.choice, self.choices) or own
            return f"{self.key} must be one of {', '.join(self.choices)}, got {self.choice}{near}"
        near = "" if config is None else did_you_mean(self.key, keys_of(config))
        return f"{self.key} is not an option{near or ': --help-all lists all'}"


def keys_of(config: DictConfig) -> Iterable[str]:
    """Every key of a config, dotted: "reduction", "reduction.ratio"."""
    for key in config:
        yield str(key)
        below = OmegaConf.select(config, str(key), throw_on_resolution_failure=False)
        if isinstance(below, DictConfig):
            yield from (f"{key}.{name}" for name in keys_of(below))


def with_own_configs(arguments: list[str]) -> list[str]:
    """Hydra's `--config-dir FOLDER` (yamls of one's own) as the override that `compose` takes."""
    left, folders = [], []
    words = iter(arguments)
    for word in words:
        flag, _, folder = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folders.append(folder or next(words, ""))
        else:
            left.append(word)
    for folder in folders:
        if not Path(folder).is_dir():
            end_on([f"--config-dir: there is no folder {folder}"])
    paths = ",".join(f"file://{Path(folder).resolve()}" for folder in folders)
    return [*left, f"hydra.searchpath=[{paths}]"] if folders else left


EXTRAS = {  # what a choice needs: the module, and the extra that brings it
    "hydra/launcher=slurm": ("hydra_submitit_launcher", "slurm"),
    "hydra/launcher=ray": ("ray", "ray"),  # the launcher is ours
    "hydra/launcher=joblib": ("hydra_joblib_launcher", "joblib"),
    "hydra/sweeper=search": ("hydra_optuna_sweeper", "search"),
}


def hydra_plugins() -> Iterable[str]:
    """The folders in which Hydra looks for its plugins; none is imported."""
    found = importlib.util.find_spec("hydra_plugins")
    return found.submodule_search_locations or () if found else ()


def check_extras(overrides: list[str]) -> None:
    """End in one line where a launcher or sweeper is chosen that is not installed."""
    for choice in overrides:
        module, extra = EXTRAS.get(choice, ("", ""))
        plugins = {found.name for found in iter_modules(hydra_plugins())}
        if module and module not in plugins and importlib.util.find_spec(module) is None:
            end_on([f"{choice}: pip install 'eat_lightning[{extra}]'"])


def firsts(overrides: list[str]) -> list[str]:
    """A sweep's overrides with the first of their values."""
    found = []
    for override in OverridesParser.create().parse_overrides(overrides):
        value, key = override.value(), override.get_key_element()
        if isinstance(value, IntervalSweep):  # a search between two ends
            found.append(f"{key}={value.start}")
        elif override.is_sweep_override():
            found.append(f"{key}={next(override.sweep_string_iterator())}")
        else:
            found.append(str(override.input_line))
    return found


def in_one_line(text: str) -> str:
    """Hydra's message without what only its authors can use."""
    lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    noise = ("full_key:", "object_type=", "Set the env", "Config search path", "provider=")
    said = [line.rstrip(".") for line in lines if not line.startswith(noise)]
    said = [re.sub(r"^In '.+?': ", "", line) for line in said]
    return "; ".join(said).replace(":; ", ": ")
