"""How a method states its arguments: once, as fields whose annotations carry their bounds.

    @method("reduction")
    class LearnedTokenPruning(nn.Module):
        layers: Layers = (1, 2, 3, 4, 5)
        final: Annotated[float, Within("[0, 1)")] = 0.01
        protect_sep: bool = True

The decorator makes the constructor: it checks every field, raises ValueError with a line (key,
bound, value) for each fault, and keeps sequences as lists. What holds between fields is said by
`rules(self, num_layers)`, lines about fields that are sound by themselves; what is made from them,
by `__post_init__`. A class attribute that is no argument has no annotation, or is a `ClassVar`; a
buffer's is `field(init=False)`.

A bound is any function of an `Argument` that gives a list of faults. `bool`, and a `Literal`, are
bounds themselves; None passes where the annotation names it. Without torch: policies are asked
where there is none.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

from eat_lightning.bounds import (
    layer_faults,
    number_faults,
    one_each,
    raise_faults,
    switch_faults,
    whole_faults,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Argument:
    """The value of a field. key: as a config names it. null: None may stand for it. beside: the
    method with its other arguments, of which nothing is checked yet. num_layers: of the encoder;
    None: not known yet."""

    key: str
    value: Any
    null: bool
    beside: Any
    num_layers: int | None


Bound = Callable[[Argument], list[str]]


@dataclass(frozen=True)
class Within:
    """A number in an interval written as in "[0, 1)"."""

    interval: str

    def __call__(self, given: Argument) -> list[str]:
        return number_faults(given.key, [given.value], self.interval)


@dataclass(frozen=True)
class Whole:
    """A whole number, `least` or more."""

    least: int

    def __call__(self, given: Argument) -> list[str]:
        return whole_faults(given.key, given.value, self.least)


class OneOf:
    """One of several names."""

    def __init__(self, *names: str):
        self.names = names

    def __call__(self, given: Argument) -> list[str]:
        if isinstance(given.value, str) and given.value in self.names:
            return []
        known = ", ".join(self.names) + " or null" * given.null
        return [f"{given.key} must be one of {known}, got {given.value!r}"]


@dataclass(frozen=True)
class InLayers:
    """Distinct layers, `at_least` so many, from `lowest` (0: the embedding) to the last but
    `without_last`."""

    at_least: int = 0
    lowest: int = 1
    without_last: int = 0

    def __call__(self, given: Argument) -> list[str]:
        last = None if given.num_layers is None else given.num_layers - self.without_last
        return layer_faults(given.key, given.value, last, self.at_least, self.lowest)


def at_knob(given: Argument) -> list[str]:
    """A point of the class's knob."""
    return number_faults(given.key, [given.value], given.beside.knob.bounds)


def at_knob_of_layers(given: Argument) -> list[str]:
    """A point of the class's knob, or a list with one for each of the method's layers."""
    faults = number_faults(given.key, given.value, given.beside.knob.bounds)
    return faults + one_each(given.key, given.value, given.beside.layers)


Layers = Annotated[Sequence[int], InLayers()]
Point = Annotated[float, at_knob]
Points = Annotated[float | Sequence[float], at_knob_of_layers]
Positive = Annotated[float, Within("(0, inf)")]
NotNegative = Annotated[float, Within("[0, inf)")]


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def method(key: str) -> Callable[[type[T]], type[T]]:
    """Make a class whose annotated fields are a method's arguments. key: what a config calls the
    method, "exit" or "policy.veto", with which its faults begin."""

    def declared(cls: type[T]) -> type[T]:
        own_doc = cls.__doc__
        made: Any = dataclass(eq=False, repr=False)(cls)
        made.__doc__ = own_doc  # else a class without one gets its signature
        hints = inspect.get_annotations(cls, eval_str=True)
        taken = {f.name for f in fields(made) if f.init}
        inherited = getattr(made, "_bounds", {})
        made._bounds = inherited | {k: bounds_in(v) for k, v in hints.items() if k in taken}
        made._key = key
        made.__init__ = checking(made)
        return made

    return declared


def bounds_in(annotation: Any) -> tuple[list[Bound], bool]:
    """The bounds that an annotation carries, and whether None may stand for the value."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is bool:
        return [lambda given: switch_faults(given.key, given.value)], False
    if origin is Literal:
        return [lambda given: choice_faults(given, inner)], False
    if origin is Annotated:
        bounds, null = bounds_in(inner[0])
        return [*bounds, *inner[1:]], null
    if origin in (Union, types.UnionType):
        found = [bounds_in(one) for one in inner if one is not type(None)]
        return [bound for bounds, _ in found for bound in bounds], type(None) in inner
    return [], False


def choice_faults(given: Argument, choices: tuple[Any, ...]) -> list[str]:
    if given.value in choices:
        return []
    known = " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
    return [f"{given.key} must be {known}, got {given.value!r}"]


def checking(cls: Any) -> Callable[..., None]:
    """The constructor of a declared class: that of its fields, behind their check and, for an
    `nn.Module`, behind torch's own."""
    fill = cls.__init__
    signature = inspect.signature(fill)
    begin = next(c for c in makers(cls) if "_bounds" not in vars(c)).__init__

    @wraps(fill)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        arguments = dict(given.arguments)
        del arguments["self"]
        raise_faults(faults_beside(unmade(type(self), arguments), None))
        begin(self)
        fill(self, **{name: plain(value) for name, value in arguments.items()})

    return __init__


def makers(cls: type) -> Iterator[type]:
    """The classes of which a class has a constructor: its own first."""
    return (base for base in cls.__mro__ if "__init__" in vars(base))


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def unmade(cls: type, arguments: dict[str, Any]) -> Any:
    """A method that holds its arguments, the defaults included, of which nothing is checked and
    nothing made."""
    blank: Any = object.__new__(cls)
    vars(blank).update(arguments)
    return blank


def faults_beside(blank: Any, num_layers: int | None) -> list[str]:
    """What is wrong with the arguments that an unmade method holds."""
    found: list[str] = []
    for name, (bounds, null) in type(blank)._bounds.items():
        key = f"{blank._key}.{name}"
        if not hasattr(blank, name):
            found.append(f"{key} is missing")
        elif (value := getattr(blank, name)) is not None or not null:
            given = Argument(key, value, null, blank, num_layers)
            found += [fault for bound in bounds for fault in bound(given)]
    return found or list(blank.rules(num_layers))


def argument_faults(cls: Any, num_layers: int | None, /, **arguments: Any) -> list[str]:
    """Give a line for each fault of a method's arguments; num_layers None: not known yet."""
    if inspect.isabstract(cls):
        return [f"{cls.__name__} has no {' and no '.join(sorted(cls.__abstractmethods__))}"]
    return cls.faults(num_layers, **arguments)


def declared_faults(cls: Any, num_layers: int | None, /, **arguments: Any) -> list[str]:
    """Give a line for each fault of declared fields. Of a class that has a constructor instead
    nothing is known before it is called."""
    declared = "_bounds" in vars(next(makers(cls)))
    return faults_beside(unmade(cls, arguments), num_layers) if declared else []


def kept_arguments(made: Any) -> dict[str, Any]:
    """The plain arguments that a method was made from."""
    return {name: getattr(made, name) for name in inspect.signature(type(made)).parameters}


def faults_of(made: Any, num_layers: int | None) -> list[str]:
    """What is wrong with a method in an encoder of so many layers."""
    return argument_faults(type(made), num_layers, **kept_arguments(made))
