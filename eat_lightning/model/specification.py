"""How a method is named, checked, built and saved: by its slot, its kind and its arguments."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from pydantic import BeforeValidator

from eat_lightning.model.method import SLOTS, Method, argument_faults, kept_arguments, overrides
from eat_lightning.user_modules import ALLOW, PLACES, import_user_module, is_there, user_classes
from eat_lightning.validation import did_you_mean, raise_faults

if TYPE_CHECKING:
    from eat_lightning.model.contracts import EncoderPart, ExitRule

CONTRACTS = "eat_lightning.model.contracts"  # imports torch; a policy's needs none
MODEL_SLOTS = ("attention", "reduction", "exit")  # an encoder's attributes


def home(slot: str) -> str:
    """Return the package whose modules are the kinds of a slot."""
    return f"eat_lightning.methods.{slot}"


def contract(slot: str) -> type[Method]:
    """Return the base class of a slot's methods. Raises ValueError if there is no such slot."""
    if slot not in SLOTS:
        importlib.import_module(CONTRACTS)
    if slot not in SLOTS:
        raise ValueError(f"slot must be one of {', '.join(SLOTS)}, got {slot!r}")
    return SLOTS[slot]


@cache
def registry(slot: str) -> dict[str, str]:
    """Return the module of each kind of a slot. A kind's name is that of its file."""
    contract(slot)
    files = iter_modules(importlib.import_module(home(slot)).__path__)
    return {file.name: f"{home(slot)}.{file.name}" for file in files if file.name[0] != "_"}


def class_of(slot: str, kind: str) -> Any:
    """Return the class of a method. A kind with a dot names a class from outside the package, which
    must have been imported or be named in EAT_IMPORT, since a checkpoint must not import code."""
    if not isinstance(kind, str) or kind not in registry(slot):  # a file may say anything
        return class_outside(slot, kind)
    module = importlib.import_module(registry(slot)[kind])
    own = (cls for cls in vars(module).values() if fills(slot, cls))
    return next(cls for cls in own if cls.__module__ == module.__name__ and cls.__name__[0] != "_")


def class_outside(slot: str, kind: str) -> Any:
    """Return a class from outside the package. Raises ValueError if it is not imported or is no
    method of the slot."""
    parts = kind.split(".") if isinstance(kind, str) else [""]  # a file may say anything
    if not all(map(str.isidentifier, parts)):
        raise ValueError(f"{slot}.kind must be a method's file name, got {kind!r}")
    module_name, name = ".".join(parts[:-1]), parts[-1]
    if module_name and module_name not in sys.modules:
        import_user_module(module_name)
    if module_name not in sys.modules:
        if not module_name or not is_there(parts[0]):  # of a dotted name it would import a part
            raise ValueError(unknown_kind(slot, kind))
        choices = f"import {module_name} before loading this model, or give {ALLOW}={module_name}"
        raise ValueError(f"{slot}.kind {kind!r}: {choices}")
    # Not getattr: a module may import what it is asked for.
    cls = vars(sys.modules[module_name]).get(name)
    # Nothing is called before this: a kind such as os.system must not run.
    if not fills(slot, cls):
        near = did_you_mean(kind, user_classes(contract(slot)))
        raise ValueError(f"{slot}.kind {kind!r} is no {contract(slot).__name__}{near}")
    return cls


def unknown_kind(slot: str, kind: str) -> str:
    """Say that a kind is unknown, with the nearest known one or else all kinds of the package."""
    absent, known = f"{slot}.kind: there is no {slot} called {kind!r}", sorted(registry(slot))
    if near := did_you_mean(kind, [*known, *user_classes(contract(slot))]):
        return absent + near
    if "." in kind:
        return f"{absent}: its module must lie in {PLACES}"
    example = f"{kind}.{''.join(part[:1].upper() + part[1:] for part in kind.split('_'))}"
    return f"{absent}: one of {', '.join(known)}, or a class of one's own as {example}"


def kind_of(slot: str, cls: type) -> str:
    """Return the kind of a class: its file name in the package, or its path if from outside."""
    prefix = f"{home(slot)}."
    inside = cls.__module__.startswith(prefix)
    return cls.__module__.removeprefix(prefix) if inside else f"{cls.__module__}.{cls.__qualname__}"


def fills(slot: str, cls: Any) -> bool:
    """Whether an object is a class of methods for the slot."""
    return inspect.isclass(cls) and issubclass(cls, contract(slot))


@dataclass(frozen=True)
class Specification:
    """A method by name: what a yaml, a model's config.json, a row, a certificate or a command holds
    of it. `build` makes the method, and `of` names one that was built.

    Args:
        slot: a key of `SLOTS`.
        kind: its file name in the package, or the path of a class from outside.
        arguments: plain values by name; others have their defaults.
    """

    slot: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, slot: str, given: Any) -> Specification:
        """Read {"kind": ..., **arguments}, as files hold it, or return a specification unchanged.
        Raises ValueError if it is neither. No class is imported."""
        if isinstance(given, Specification):
            return given
        if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
            shape = 'must be a dict such as {"kind": "<method>"}'
            raise ValueError(f"{slot} {shape}, got {given!r:.80}")
        return cls(slot, given["kind"], {k: v for k, v in given.items() if k != "kind"})

    @classmethod
    def of_node(cls, slot: str, node: Any, before: Specification | None = None) -> Specification:
        """Read a command's settings: a node with `_target_`, whose class is imported, or a dict
        with a kind. Raises ValueError if they name no method of the slot.

        Args:
            slot: a key of `SLOTS`.
            before: the method whose arguments the settings change if they name neither class nor
                kind; a value of None then changes nothing.
        """
        if before is not None and isinstance(node, dict):
            node = {key: value for key, value in node.items() if value is not None}
            if not node.keys() & {"_target_", "kind"}:
                return before.changed(node)
        if not isinstance(node, dict) or not node.get("_target_"):
            return cls.read(slot, node)
        from eat_lightning.config import arguments, binding_faults, target

        raise_faults(binding_faults(slot, node))
        made_of: Any = target(node)
        if not fills(slot, made_of):
            wanted = f"{CONTRACTS}.{contract(slot).__name__}"
            raise ValueError(f"{slot}._target_: {made_of.__name__} must be a subclass of {wanted}")
        return cls(slot, kind_of(slot, made_of), arguments(node))

    @classmethod
    def of(cls, slot: str, method: Method) -> Specification:
        """Name a method that was built."""
        return cls(slot, kind_of(slot, type(method)), kept_arguments(method))

    def as_dict(self) -> dict[str, Any]:
        """Return {"kind": ..., **arguments}, as files hold it."""
        return {"kind": self.kind, **self.arguments}

    def changed(self, arguments: Mapping[str, Any]) -> Specification:
        """Return the same method with other values of some arguments."""
        return replace(self, arguments={**self.arguments, **arguments})

    def without(self, *names: str | None) -> Specification:
        """Return the same method without some arguments."""
        kept = {key: value for key, value in self.arguments.items() if key not in names}
        return replace(self, arguments=kept)

    @property
    def made_of(self) -> Any:
        """The method's class. Raises ValueError if there is none."""
        return class_of(self.slot, self.kind)

    @property
    def takes(self) -> Mapping[str, inspect.Parameter]:
        """The arguments of its class."""
        return inspect.signature(self.made_of).parameters

    def looking_at(self, layers: Sequence[int]) -> Specification:
        """Return the same method at these layers, if its class takes layers and none are given."""
        if "layers" not in self.takes or self.arguments.get("layers") is not None:
            return self
        return self.changed({"layers": list(layers)})

    def faults(self, num_layers: int | None = None) -> list[str]:
        """Return a line (key, bound, value) for each fault, before anything is built. Raises
        ValueError if there is no such class.

        Args:
            num_layers: of the encoder; None where it is not known yet.
        """
        if unknown := self.arguments.keys() - self.takes.keys():
            key = f"{self.slot}.{min(unknown)}"
            # A class from outside may lack an argument that a preset sets for the package's own.
            preset = f"; ~{key} leaves it out" if "." in self.kind else ""
            has = f", which has {', '.join(self.takes)}" if self.takes else ""
            near = did_you_mean(min(unknown), self.takes) or preset or has
            return [f"{key} is not an option of {self.kind}{near}"]
        return argument_faults(self.made_of, num_layers, **self.arguments)

    def build(self, num_layers: int | None = None) -> Any:
        """Create the method. Raises ValueError with every fault."""
        raise_faults(self.faults(num_layers))
        return self.made_of(**self.arguments)

    def like(self, method: Any, num_layers: int | None = None) -> Any:
        """Return a twin of `method` with these arguments that shares its parameters, if it is of
        this kind; else a new method. Raises ValueError with every fault."""
        if kind_of(self.slot, type(method)) != self.kind:
            return self.build(num_layers)
        raise_faults(argument_faults(type(method), num_layers, **self.arguments))
        twin = copy.copy(method)
        for name, value in kept_arguments(type(method)(**self.arguments)).items():
            setattr(twin, name, value)
        return twin

    def __str__(self) -> str:
        """Return kind and settings, such as "norm_topk ratio 0.3 layers 2/4"."""
        settings = [f"{k} {value_text(v)}" for k, v in self.arguments.items() if v is not None]
        return " ".join([self.kind, *settings])


def value_text(value: Any) -> str:
    """Return an argument's value as text; the entries of a list are joined by slashes."""
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


OFF = {"attention": "dense", "reduction": "none", "exit": "never"}
STATIC = {slot: Specification(slot, kind) for slot, kind in OFF.items()}  # methods that do nothing


def build(slot: str, given: Any, num_layers: int | None = None) -> Any:
    """Create the method that a file names. Raises ValueError with every fault."""
    return Specification.read(slot, given).build(num_layers)


def build_all(given: Mapping[str, Any], num_layers: int) -> dict[str, Any]:
    """Create a method for each slot named. Raises ValueError with every fault of all of them."""
    methods, faults = {}, []
    for slot, one in given.items():
        try:
            methods[slot] = build(slot, one, num_layers)
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(str(error))
    raise_faults(faults)
    return methods


def specs_by_slot(encoder: Any) -> dict[str, Specification]:
    """Return the specifications of an encoder's methods."""
    methods = {"attention": encoder.attention, "reduction": encoder.reduction, "exit": encoder.exit}
    return {slot: Specification.of(slot, method) for slot, method in methods.items()}


def in_slot(slot: str) -> BeforeValidator:
    """Return the validator that reads a slot's method, for an annotated type of pydantic."""

    def read(given: Any) -> Specification:
        try:
            return Specification.read(slot, given)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{slot} ")) from None

    return BeforeValidator(read)


def rule_learns(rule: type[ExitRule] | None) -> bool:
    """Whether a class of exit rules takes part in training: it has parameters, or a loss."""
    from eat_lightning.model.contracts import ExitRule

    hooks = (ExitRule.bind, ExitRule.penalties)
    return rule is not None and any(overrides(rule, hook) for hook in hooks)


def untrained(slot: str, method: EncoderPart, trained: str) -> list[str]:
    """Return the fault, if any, that a method learns and is not the one of a run's training."""
    from eat_lightning.model.contracts import EncoderPart

    kind = kind_of(slot, type(method))
    if not overrides(method, EncoderPart.bind) or kind == trained:
        return []
    return [f"{slot}={kind} learns, and this run was trained with {trained}: train one with it"]


def method_faults(slot: str, node: Any, num_layers: int | None) -> list[str]:
    """Return a line for each fault of a config's node."""
    if not isinstance(node, dict) or not node.get("_target_"):
        return [f"{slot}._target_ must name a class"]
    try:
        return Specification.of_node(slot, node).faults(num_layers)
    except ValueError as error:
        return str(error).split("; ")
