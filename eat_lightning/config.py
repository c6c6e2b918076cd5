"""From a composed config to typed objects, with every fault named before anything is loaded.

A command's settings are one `Settings`: `parsed(MeasureSettings, config)`, objects from there.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from eat_lightning.errors import ConfigError, Faults
from eat_lightning.user_modules import where_absent
from eat_lightning.validation import STRICT, did_you_mean, fault_lines, listed_layers

P = TypeVar("P", bound="Settings")

_packaged = Path(__file__).parent / "configs"
CONFIG_DIR = str(_packaged if _packaged.is_dir() else Path(__file__).parents[1] / "configs")

GIVEN = {  # arguments that code gives, so a yaml need not have them
    "encoder": {"num_labels", "kind", "attention", "reduction", "exit", "head", "tokenizer"},
    "data": {"task", "tokenizer"},
    "logger": {"save_dir"},
    "optimizer": {"params"},
}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts and lists, interpolations resolved; head.layers=all becomes a list first, since
    exit rules look where heads stand."""
    if isinstance(layers := OmegaConf.select(cfg, "head.layers"), str):
        num_layers = OmegaConf.select(cfg, "encoder.num_layers")
        OmegaConf.update(cfg, "head.layers", listed_layers(layers, num_layers))
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
    except TypeError as error:  # a hook is misspelt
        return [f"{slot}._target_: {error}"]
    except SyntaxError as error:
        return [f"{slot}._target_: {error.filename}, line {error.lineno}: {error.msg}"]
    except (ImportError, AttributeError, ValueError):
        name = str(node["_target_"])
        return [f"{slot}._target_: there is no {name}{where_absent(name)}"]
    parameters = inspect.signature(called).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = GIVEN.get(slot, set())
    unknown = [] if open_ended else [k for k in arguments(node) if k not in parameters]
    faults = [
        f"{slot}.{key} is not an option of {called.__name__}{did_you_mean(key, parameters)}"
        for key in unknown
    ]
    for name, p in parameters.items():
        required = p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        if required and name not in node and name not in given:
            faults.append(f"{slot}.{name} is missing")
    return faults


class Settings(BaseModel):
    """The settings of a command: a field for each key of its yaml, typed and bounded.

    No field has a default: that stands in the yaml, where a person reads it. Parts of a config that
    have a group of keys (`timing`) are plans too.
    """

    model_config = STRICT | ConfigDict(frozen=True)

    def rules(self) -> Iterable[str]:
        """List the errors between fields that are sound by themselves, one line each."""
        return ()


def parsed(plan: type[P], config: dict[str, Any]) -> P:
    """Make the plan of a config; ConfigError with a line (key, bound, value) for every fault."""
    try:
        made = plan.model_validate(config)
    except ValidationError as error:
        lines = dict.fromkeys(fault_lines(error, known=plan.model_fields))
        raise ConfigError.of(lines) from None
    Faults(made.rules()).check()
    return made


def run_folder(value: Any) -> Any:
    if not value:
        raise ValueError("must name the folder of a finished run: run=outputs/...")
    return str(value)


RunFolder = Annotated[str, BeforeValidator(run_folder)]


class DataSettings(Settings):
    """dir: None is where the run had it."""

    dir: str | None
