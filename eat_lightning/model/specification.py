"""How a method is named, checked, built and saved: by its slot, its kind and its arguments."""

from __future__ import annotations

import importlib
import inspect
import sys
from pkgutil import iter_modules
from typing import Any

from eat_lightning.bounds import did_you_mean, raise_faults
from eat_lightning.model.contracts import (
    Attention,
    EncoderPart,
    ExitRule,
    Head,
    Method,
    Objective,
    Policy,
    Procedure,
    Reduction,
    Risk,
    Schedule,
    overrides,
)
from eat_lightning.model.method import argument_faults, faults_of, kept_arguments
from eat_lightning.own import ALLOW, PLACES, import_own, is_there, own_classes

SLOTS: dict[str, type[Method]] = {
    "attention": Attention,
    "reduction": Reduction,
    "exit": ExitRule,
    "head": Head,
    "policy": Policy,
    "objective": Objective,
    "schedule": Schedule,
    "risk": Risk,
    "procedure": Procedure,
}

MODEL_SLOTS = ("attention", "reduction", "exit")  # an encoder's attributes


def home(slot: str) -> str:
    """The package whose modules are the kinds of a slot."""
    room = "deploy.certify" if slot in ("risk", "procedure") else "methods"
    return f"eat_lightning.{room}.{slot}"


def class_of(slot: str, kind: str) -> Any:
    """The class of a method. A kind with a dot names a class from outside the package, which its
    owner must have imported, or named in EAT_IMPORT: a checkpoint never makes us import code."""
    if slot not in SLOTS:
        raise ValueError(f"slot must be one of {', '.join(SLOTS)}, got {slot!r}")
    parts = kind.split(".") if isinstance(kind, str) else [""]  # a file may say anything
    if not all(map(str.isidentifier, parts)) or (len(parts) == 1 and kind.startswith("_")):
        raise ValueError(f"{slot}.kind must be a method's file name, got {kind!r}")
    if len(parts) > 1:
        return class_outside(slot, kind)
    try:
        module = importlib.import_module(f"{home(slot)}.{kind}")
    except ModuleNotFoundError:
        raise ValueError(unknown_kind(slot, kind)) from None
    return next(
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and not issubclass(value, int)
        and not value.__name__.startswith("_")
    )


def unknown_kind(slot: str, kind: str) -> str:
    """The nearest kind, or else what is there: the shelf, and the form of a class of one's own."""
    absent = f"{slot}.kind: there is no {slot} called {kind!r}"
    shelf = importlib.import_module(home(slot)).__path__
    known = sorted(m.name for m in iter_modules(shelf) if not m.name.startswith("_"))
    if near := did_you_mean(kind, [*known, *own_classes(SLOTS[slot])]):
        return absent + near
    if "." in kind:
        return f"{absent}: its module must lie in {PLACES}"
    own = f"{kind}.{''.join(part[:1].upper() + part[1:] for part in kind.split('_'))}"
    return f"{absent}: one of {', '.join(known)}, or a class of one's own as {own}"


def class_outside(slot: str, kind: str) -> Any:
    module_name, _, name = kind.rpartition(".")
    if module_name not in sys.modules:
        import_own(module_name)
    if module_name not in sys.modules:
        if not is_there(module_name.partition(".")[0]):  # of a dotted name it would import a part
            raise ValueError(unknown_kind(slot, kind))
        ways = f"import {module_name} before loading this model, or give {ALLOW}={module_name}"
        raise ValueError(f"{slot}.kind {kind!r}: {ways}")
    # Not getattr: a module may import what it is asked for.
    cls = vars(sys.modules[module_name]).get(name)
    # Nothing is called before this: a kind such as os.system must not run.
    if not fills(slot, cls):
        near = did_you_mean(kind, own_classes(SLOTS[slot]))
        raise ValueError(f"{slot}.kind {kind!r} is no {SLOTS[slot].__name__}{near}")
    return cls


def fills(slot: str, cls: Any) -> bool:
    """True for a class of the slot's contract."""
    return inspect.isclass(cls) and issubclass(cls, SLOTS[slot])


def build(slot: str, spec: dict[str, Any]) -> Any:
    """{"kind": "norm_topk", "ratio": 0.3} -> the method; ValueError names what does not fit."""
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        raise ValueError(f'{slot} must be a dict such as {{"kind": "<method>"}}, got {spec!r}')
    arguments = without_kind(spec)
    cls = class_of(slot, spec["kind"])
    unknown = set(arguments) - set(inspect.signature(cls).parameters)
    if unknown:
        raise ValueError(f"{slot}.{min(unknown)} is not an option of {spec['kind']}")
    return cls(**arguments)


def build_all(specs: dict[str, dict[str, Any]], num_layers: int) -> dict[str, Any]:
    """A method for each slot named; ValueError lists all faults, those of the layers included."""
    methods, faults = {}, []
    for slot, chosen in specs.items():
        try:
            methods[slot] = build(slot, chosen)
            faults += faults_of(methods[slot], num_layers)
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(str(error))
    raise_faults(faults)
    return methods


def without_kind(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "kind"}


def spec(slot: str, method: Any) -> dict[str, Any]:
    """The inverse of `build`: the kind and the plain arguments of a method."""
    cls = type(method)
    prefix = f"{home(slot)}."
    inside = cls.__module__.startswith(prefix)
    kind = cls.__module__.removeprefix(prefix) if inside else f"{cls.__module__}.{cls.__qualname__}"
    return {"kind": kind} | kept_arguments(method)


def specs_by_slot(encoder: Any) -> dict[str, Any]:
    """The specs of an encoder's methods."""
    return {slot: spec(slot, getattr(encoder, slot)) for slot in MODEL_SLOTS}


def rule_learns(rule: type[ExitRule] | None) -> bool:
    """True for a class of rules that takes part in training: it has parameters, or a loss."""
    hooks = (ExitRule.bind, ExitRule.penalties)
    return rule is not None and any(overrides(rule, hook) for hook in hooks)


def untrained(slot: str, method: EncoderPart, trained: str) -> list[str]:
    """A method that learns can only be the one that a run was trained with."""
    kind = spec(slot, method)["kind"]
    if not overrides(method, EncoderPart.bind) or kind == trained:
        return []
    return [f"{slot}={kind} learns, and this run was trained with {trained}: train one with it"]


def method_faults(slot: str, node: Any, num_layers: int | None) -> list[str]:
    """Faults of a slot's method: its names first, then its values."""
    from eat_lightning.config import arguments, binding_faults, target

    faults = binding_faults(slot, node)
    if faults:
        return faults
    cls = target(node)
    if slot in SLOTS and not fills(slot, cls):
        return [f"{slot}._target_: {cls.__name__} is no {SLOTS[slot].__name__}"]
    return argument_faults(cls, num_layers, **arguments(node))
