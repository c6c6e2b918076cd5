"""How a method states its arguments: once, as fields whose annotations carry their bounds.

    @method("reduction")
    class LearnedTokenPruning(Reduction, nn.Module):
        layers: Layers = (1, 2, 3, 4, 5)
        final: Annotated[float, Field(ge=0, lt=1)] = 0.01
        protect_sep: bool = True

The decorator makes the constructor: it checks every field, raises ValueError with a line (key,
bound, value) for each fault, and keeps values as they come, sequences as lists. What holds between
fields is checked by `rules(self, num_layers)`, lines about fields that are sound by themselves;
what is made from them, by `__post_init__`. A class attribute that is no argument has no annotation,
or is a `ClassVar`; a buffer's is `field(init=False)`. The bounds are in
`eat_lightning/validation.py`.

Without torch: policies act where there is none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache, wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic import TypeAdapter, ValidationError

from eat_lightning.validation import (
    STRICT,
    Beside,
    did_you_mean,
    fault_lines,
    is_list,
    raise_faults,
)

T = TypeVar("T")


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def method(key: str) -> Callable[[type[T]], type[T]]:
    """Make a class whose annotated fields are a method's arguments. key: what a config calls the
    method, "exit" or "policy.veto", with which its faults begin."""

    def declared(cls: type[T]) -> type[T]:
        doc = cls.__doc__
        made: Any = dataclass(eq=False, repr=False)(cls)
        made.__doc__ = doc  # else a class without one gets its signature
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
    taken = inspect.signature(cls).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in taken):
        return [f"{cls.__name__} must name its arguments: it lacks the decorator @method"]
    return cls.faults(num_layers, **arguments)


def kept_arguments(made: Any) -> dict[str, Any]:
    """The plain arguments that a method was made from."""
    return {name: getattr(made, name) for name in argument_names(type(made))}


@cache
def argument_names(cls: type) -> tuple[str, ...]:
    return tuple(inspect.signature(cls).parameters)


def faults_of(made: Any, num_layers: int | None) -> list[str]:
    """Give a line for each fault of a method in an encoder of so many layers."""
    return argument_faults(type(made), num_layers, **kept_arguments(made))


SLOTS: dict[str, type[Method]] = {}  # the contract of each slot


class Method:
    """The base of every contract: a contract is a subclass with a `slot`.

    A class states its arguments as fields with bounds, under the decorator `method`, and keeps each
    as an attribute of the same name. A class from outside the package may have a constructor
    instead, which does the same.

    A public name in a method's class is a hook of its contract, an abstract method for its own
    subclasses, or an annotated argument. Names of helpers begin with an underscore. Any other name
    raises TypeError where the class is made, since a misspelt hook would never be called.
    """

    def __init_subclass__(cls, slot: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if slot is not None:
            SLOTS[slot] = cls
        if not cls.__module__.startswith(f"{__package__}."):
            refuse_unknown_names(cls)
            refuse_other_parameters(cls)

    def rules(self, num_layers: int | None) -> Iterable[str]:
        """Give a line for each fault between arguments that are sound by themselves.

        Args:
            num_layers: of the encoder; None where it is not known yet.
        """
        return ()

    @classmethod
    def faults(cls, num_layers: int | None, /, **arguments: Any) -> list[str]:
        """Give a line (key, bound, value) for each fault of the arguments, before a method is made
        of them. To be overridden by a class that has a constructor in place of fields.

        Args:
            num_layers: of the encoder; None where it is not known yet.
            arguments: plain values, as in a yaml.
        """
        declared = "_types" in vars(next(makers(cls)))  # of a constructor nothing is known
        return faults_beside(unmade(cls, arguments), num_layers) if declared else []

    def export_blockers(self) -> list[str]:
        """Give a line for each reason why an exported graph cannot do what this method does."""
        return []


def overrides(method: Method | type[Method], hook: Callable[..., Any]) -> bool:
    """True where a method's class has a hook of its own: `overrides(rule, ExitRule.observe)`."""
    cls = method if isinstance(method, type) else type(method)
    return getattr(cls, hook.__name__) is not hook


VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def refuse_other_parameters(cls: type[Method]) -> None:
    """Raise TypeError where a class has a hook's name for something else: for more parameters or
    fewer, in another order, or for one of other axes, as its name ends ("logits_BC" in place of
    "logits_EBC")."""
    for name, hook in hooks_of(cls):
        signatures = [inspect.signature(f).parameters for f in (vars(cls)[name], hook)]
        named, theirs = map(list, signatures)
        takes_all = any(each.kind in VARIADIC for each in signatures[0].values())
        pairs = list(zip(named, theirs, strict=False))
        reordered = any(mine != yours and mine in theirs for mine, yours in pairs)
        axes = [(num_axes(mine), num_axes(yours)) for mine, yours in pairs]
        least = sum(each.default is each.empty for each in signatures[1].values())
        count = len(named) > len(theirs) or (len(named) < least and not takes_all)
        if count or reordered or any(a and b and a != b for a, b in axes):
            raise TypeError(
                f"{cls.__name__}.{name}({', '.join(named[1:])}) has the name of a hook that takes "
                f"({', '.join(theirs[1:])}): take these, or begin a helper's name with _"
            )


def hooks_of(cls: type[Method]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the names of a class's own functions that its contract has too, with those."""
    contract = next(base for base in cls.__mro__ if base.__module__.startswith(f"{__package__}."))
    for name, value in vars(cls).items():
        hook = getattr(contract, name, None)
        if not name.startswith("_") and inspect.isfunction(value) and inspect.isfunction(hook):
            yield name, hook


def num_axes(parameter: str) -> int:
    """How many axes a parameter's name tells, 3 of "logits_EBC"; 0 where it tells none."""
    end = parameter.rpartition("_")[2]
    return len(end) if end.isupper() else 0


def refuse_unknown_names(cls: type[Method]) -> None:
    """Raise TypeError where a class has a public name that is neither hook nor argument."""
    contract = next(base for base in cls.__mro__ if base.__module__.startswith(f"{__package__}."))
    known = {
        name for base in cls.__mro__[1:] for name in {*vars(base), *inspect.get_annotations(base)}
    }
    known |= {
        name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)
    }
    for name, value in vars(cls).items():
        abstract = getattr(value, "__isabstractmethod__", False)
        if name.startswith("_") or name in known or abstract:
            continue
        hooks = [hook for hook in dir(contract) if not hook.startswith("_")]
        raise TypeError(
            f"{cls.__name__}.{name} is no hook of {contract.__name__}"
            f"{did_you_mean(name, hooks) or ' and no argument'} (an argument needs its type, as in "
            f"{name}: float = 0.5; begin a helper's name with _)"
        )
