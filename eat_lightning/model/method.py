"""How a method states its arguments: once, as fields whose annotations carry their bounds.

    @method("reduction")
    class LearnedTokenPruning(Reduction, nn.Module):
        layers: Layers = (1, 2, 3, 4, 5)
        final: Annotated[float, Within("[0, 1)")] = 0.01
        protect_sep: bool = True

The decorator makes the constructor: it checks every field, raises ValueError with a line (key,
bound, value) for each fault, and keeps values as they come, sequences as lists. What holds between
fields is said by `rules(self, num_layers)`, lines about fields that are sound by themselves; what
is made from them, by `__post_init__`. A class attribute that is no argument has no annotation, or
is a `ClassVar`; a buffer's is `field(init=False)`. The bounds are in `eat_lightning/validation.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache, wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError

from eat_lightning.validation import Beside, fault_lines, is_list, raise_faults

T = TypeVar("T")
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


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
        inherited = getattr(made, "_types", {})
        made._types = inherited | {name: hint for name, hint in hints.items() if name in taken}
        made._key = key
        made.__init__ = checking(made)
        return made

    return declared


def checking(cls: Any) -> Callable[..., None]:
    """The constructor of a declared class: that of its fields, behind their check and, for an
    `nn.Module`, behind torch's own."""
    fill = cls.__init__
    signature = inspect.signature(fill)
    begin = next(c for c in makers(cls) if "_types" not in vars(c)).__init__

    @wraps(fill)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        arguments = dict(given.arguments)
        del arguments["self"]
        raise_faults(faults_beside(unmade(type(self), arguments), None))
        begin(self)
        fill(self, **{k: list(v) if is_list(v) else v for k, v in arguments.items()})

    return __init__


def makers(cls: type) -> Iterator[type]:
    """The classes of which a class has a constructor: its own first."""
    return (base for base in cls.__mro__ if "__init__" in vars(base))


def unmade(cls: type, arguments: dict[str, Any]) -> Any:
    """A method that holds its arguments, the defaults included, of which nothing is checked and
    nothing made."""
    blank: Any = object.__new__(cls)
    vars(blank).update(arguments)
    return blank


@cache
def validators(cls: Any) -> dict[str, TypeAdapter[Any]]:
    """A validator for each argument of a declared class."""
    return {name: TypeAdapter(hint, config=STRICT) for name, hint in cls._types.items()}


def faults_beside(blank: Any, num_layers: int | None) -> list[str]:
    """Give a line for each fault of the arguments that an unmade method holds."""
    found: list[str] = []
    for name, validator in validators(type(blank)).items():
        key = f"{blank._key}.{name}"
        if not hasattr(blank, name):
            found.append(f"{key} is missing")
            continue
        try:
            validator.validate_python(getattr(blank, name), context=Beside(blank, num_layers))
        except ValidationError as error:
            found += fault_lines(error, key)
    return found or list(blank.rules(num_layers))


def argument_faults(cls: Any, num_layers: int | None, /, **arguments: Any) -> list[str]:
    """Give a line for each fault of a method's arguments; num_layers None: not known yet."""
    if inspect.isabstract(cls):
        return [f"{cls.__name__} has no {' and no '.join(sorted(cls.__abstractmethods__))}"]
    return cls.faults(num_layers, **arguments)


def declared_faults(cls: Any, num_layers: int | None, /, **arguments: Any) -> list[str]:
    """Give a line for each fault of declared fields. Of a class that has a constructor instead
    nothing is known before it is called."""
    declared = "_types" in vars(next(makers(cls)))
    return faults_beside(unmade(cls, arguments), num_layers) if declared else []


def kept_arguments(made: Any) -> dict[str, Any]:
    """The plain arguments that a method was made from."""
    return {name: getattr(made, name) for name in inspect.signature(type(made)).parameters}


def faults_of(made: Any, num_layers: int | None) -> list[str]:
    """Give a line for each fault of a method in an encoder of so many layers."""
    return argument_faults(type(made), num_layers, **kept_arguments(made))
