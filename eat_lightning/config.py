"""From a composed config to typed objects, with every fault named before anything is loaded.

A command's settings are one `Plan`: `parsed(MeasurePlan, config)` at its door, objects from there.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from eat_lightning.bounds import listed_layers, number_faults, whole_faults
from eat_lightning.errors import ConfigError

P = TypeVar("P", bound="Plan")

_packaged = Path(__file__).parent / "configs"
CONFIG_DIR = str(_packaged if _packaged.is_dir() else Path(__file__).parents[1] / "configs")

GIVEN = {  # arguments that code gives, so a yaml must not be asked for them
    "encoder": {"num_labels", "attention", "reduction", "exit", "head", "tokenizer"},
    "data": {"task", "tokenizer"},
    "logger": {"save_dir"},
}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts and lists, interpolations resolved; head.layers=all becomes a list first, since
    exit rules look where heads stand."""
    if OmegaConf.select(cfg, "head.layers") == "all":
        num_layers = OmegaConf.select(cfg, "encoder.num_layers")
        OmegaConf.update(cfg, "head.layers", listed_layers("all", num_layers))
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


class Plan(BaseModel):
    """The settings of a command: a field for each key of its yaml, typed and bounded.

    No field has a default: that stands in the yaml, where a person reads it. Parts of a config that
    have a group of keys (`timing`) are plans too.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", arbitrary_types_allowed=True
    )

    def rules(self) -> Iterable[str]:
        """What is wrong between fields that are sound by themselves, one line each."""
        return ()


def parsed(plan: type[P], config: dict[str, Any]) -> P:
    """Make the plan of a config; ConfigError with a line (key, bound, value) for every fault."""
    try:
        made = plan.model_validate(config)
    except ValidationError as error:
        raise ConfigError.of(dict.fromkeys(map(fault_line, error.errors()))) from None
    if faults := list(made.rules()):
        raise ConfigError.of(faults)
    return made


def fault_line(fault: Any) -> str:
    """Say one of pydantic's errors as key, bound and value."""
    key, value = ".".join(map(str, fault["loc"])), fault["input"]
    bounds = {
        "bool_type": "must be true or false",
        "list_type": "must be a list",
        "string_type": "must be text",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "literal_error": f"must be one of {choices(fault)}",
    }
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key} is not an option"
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"]) if not key else f"{key} {fault['ctx']['error']}"
    return f"{key} {bounds.get(fault['type'], fault['msg'])}, got {value!r}"


def choices(fault: Any) -> str:
    expected = str(fault.get("ctx", {}).get("expected", ""))
    return expected.replace("'", "").replace(" or ", ", ")


def whole(least: int) -> BeforeValidator:
    """Bound a field to whole numbers from `least` on: `Annotated[int, whole(1)]`; None passes where
    the type lets it."""

    def check(value: Any) -> Any:
        return value if value is None else bounded(value, whole_faults("", value, least))

    return BeforeValidator(check)


def within(interval: str) -> BeforeValidator:
    """Bound a field to numbers in an interval such as "[0, 1)"; None passes where the type lets
    it."""

    def check(value: Any) -> Any:
        return value if value is None else bounded(value, number_faults("", value, interval))

    return BeforeValidator(check)


def at_least(least: float) -> BeforeValidator:
    """Bound a field to numbers from `least` on."""

    def check(value: Any) -> Any:
        sound = isinstance(value, int | float) and not isinstance(value, bool) and value >= least
        return bounded(value, [] if sound else [f"must be {least} or more, got {value!r}"])

    return BeforeValidator(check)


def run_folder(value: Any) -> Any:
    if not value:
        raise ValueError("must name the folder of a finished run: run=outputs/...")
    return str(value)


RunFolder = Annotated[str, BeforeValidator(run_folder)]


def bounded(value: Any, faults: list[str]) -> Any:
    if faults:
        raise ValueError(faults[0].strip())
    return value


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
    head: Any = None
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
