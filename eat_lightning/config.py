"""From a composed config to objects, with every fault named before anything is loaded."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from eat_lightning.errors import ConfigError

_packaged = Path(__file__).parent / "configs"
CONFIG_DIR = str(_packaged if _packaged.is_dir() else Path(__file__).parents[1] / "configs")

GIVEN = {  # arguments that code gives, so a yaml must not be asked for them
    "encoder": {"num_labels", "attention", "reduction", "exit", "head", "tokenizer"},
    "data": {"task", "tokenizer"},
    "logger": {"save_dir"},
}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts and lists, interpolations resolved."""
    container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def target(node: dict[str, Any]) -> Callable[..., Any]:
    """The class or function that `_target_` names."""
    module, _, name = str(node["_target_"]).rpartition(".")
    return getattr(importlib.import_module(module), name)


def arguments(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "_target_"}


def make(node: dict[str, Any], **given: Any) -> Any:
    """Call a node's target with its plain arguments and those that code gives."""
    try:
        return target(node)(**arguments(node), **given)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None


def binding_faults(slot: str, node: Any) -> list[str]:
    """Faults of a node's target and argument names."""
    if not isinstance(node, dict) or not node.get("_target_"):
        return [f"{slot}._target_ must name a class"]
    try:
        called = target(node)
    except (ImportError, AttributeError, ValueError):
        return [f"{slot}._target_: there is no {node['_target_']}"]
    parameters = inspect.signature(called).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = GIVEN.get(slot, set())
    unknown = [] if open_ended else [k for k in arguments(node) if k not in parameters]
    required = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    missing = [name for name in required if name not in node and name not in given]
    return [f"{slot}.{key} is not an option of {called.__name__}" for key in unknown] + [
        f"{slot}.{key} is missing" for key in missing
    ]


def method_faults(slot: str, node: Any, num_layers: int | None) -> list[str]:
    """Faults of a slot's method: its names first, then its values."""
    from eat_lightning.model.contracts import SLOTS

    faults = binding_faults(slot, node)
    if faults:
        return faults
    cls = target(node)
    lacking = [part for part in SLOTS.get(slot, ()) if not hasattr(cls, part)]
    if lacking:
        return [f"{slot}._target_: {cls.__name__} has no {' and no '.join(lacking)}"]
    check = getattr(cls, "faults", None)
    return [] if check is None else check(num_layers, **arguments(node))


PATHS = (
    *("teacher", "encoder.pretrained", "data.dir"),
    *("journal", "log", "token_file", "onnx", "onnx_static"),
)


def quoted(path: str) -> str:
    """As a value that Hydra takes whole: a run's name holds "=", "," and brackets, which are also
    Hydra's grammar."""
    return "'" + path.replace("'", "\\'") + "'"


def with_path_quoted(argument: str) -> str:
    """run=... and to=..., and other keys of paths where the value names something that is there."""
    key, _, value = argument.partition("=")
    if not value or value[0] in "'\"[":
        return argument
    is_path = key in ("run", "to") or (key in PATHS and Path(value).exists())
    return f"{key}={quoted(value)}" if is_path else argument


def with_paths_listed(given: list[str], key: str) -> list[str]:
    """All run=... (or another key of paths) as one that Hydra can read."""
    values = [a.partition("=")[2] for a in given if a.startswith(f"{key}=")]
    paths = [path for value in values for path in listed(value)]
    others = [a for a in given if not a.startswith(f"{key}=")]
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


def compose_or_explain(config_name: str, overrides: list[str]) -> None:
    """Compose once before Hydra's main does, to say what is wrong in one line.

    Hydra prints five for an unknown key. Of a sweep the first job is composed; what has flags of
    Hydra's own is left to Hydra.
    """
    sweeps = any(o in ("-m", "--multirun") for o in overrides)
    overrides = [o for o in overrides if o not in ("-m", "--multirun")]
    if any(o.startswith("-") for o in overrides):
        return
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
            compose(config_name, overrides=firsts(overrides) if sweeps else overrides)
    except (HydraException, OmegaConfBaseException) as error:
        said = in_one_line(f"{error}\n{error.__cause__ or ''}")
        if "Ambiguous value" in said:  # Hydra's advice on sweeps is good as it is
            return
        print(f"error: {said}", file=sys.stderr)
        raise SystemExit(1) from None


def firsts(overrides: list[str]) -> list[str]:
    """A sweep's overrides with the first of their values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(overrides)
    return [
        f"{o.get_key_element()}={next(o.sweep_string_iterator())}"
        if o.is_sweep_override()
        else str(o.input_line)
        for o in parsed
    ]


@contextmanager
def plain_errors() -> Iterator[None]:
    """End a single job with what a ConfigError says, without Hydra's frame around it. In a sweep it
    goes up to Hydra, so that the other jobs still run."""
    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        yield
    except ConfigError as error:
        if multirun:  # where the command ends, Hydra prints the first of them
            raise
        print(f"error: {error}".replace("\n", "\nerror: "), file=sys.stderr)
        raise SystemExit(1) from None


def in_one_line(text: str) -> str:
    """Hydra's message without what only its authors can use."""
    lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    noise = ("full_key:", "object_type=", "Set the env", "Config search path", "provider=")
    said = [line.rstrip(".") for line in lines if not line.startswith(noise)]
    said = [re.sub(r"^In '.+?': ", "", line) for line in said]
    return "; ".join(said).replace(":; ", ": ")


@dataclass
class HeadSchema:
    layers: list[int] = field(default_factory=list)
    pool: str = "cls"
    activation: str | None = "auto"


@dataclass
class OptimizerSchema:
    lr: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.1


@dataclass
class TrainSchema:
    """The types of the root keys, so that `seed=abc` is refused while composing."""

    study: str = "default"
    seed: int = 1
    model: str = ""
    teacher: str | None = None
    threads: int | None = None
    checkpoint_every: int = 200
    head: HeadSchema = field(default_factory=HeadSchema)
    optimizer: OptimizerSchema = field(default_factory=OptimizerSchema)
    task: Any = None
    data: Any = None
    encoder: Any = None
    attention: Any = None
    reduction: Any = None
    exit: Any = None
    objective: Any = None
    schedule: Any = None
    trainer: Any = None
    logger: Any = None


ConfigStore.instance().store(name="train_schema", node=TrainSchema)
