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
or is a `ClassVar`; a buffer's is `field(init=False)`. Bounds are pydantic's, and those of
`eat_lightning/validation.py`.

Without torch: policies act where there is none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache, wraps
from typing import Any, TypeVar, dataclass_transform

from eat_lightning.validation import Beside, did_you_mean, is_list, raise_faults, value_faults

T = TypeVar("T")


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def method(key: str) -> Callable[[type[T]], type[T]]:
    """Turn the annotated fields of a class into a method's arguments. key: the name of the method
    in a config, such as "exit" or "policy.veto", with which error messages begin."""

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
    """Return the constructor of a declared class. It checks the fields, calls the constructor of
    the first base that is not declared (torch's, for an `nn.Module`), and sets the fields."""
    fill = cls.__init__
    signature = inspect.signature(fill)
    begin = next(c for c in makers(cls) if "_types" not in vars(c)).__init__

    @wraps(fill)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        arguments = dict(given.arguments)
        del arguments["self"]
        raise_faults(field_faults(type(self), arguments, None))
        begin(self)
        fill(self, **{k: list(v) if is_list(v) else v for k, v in arguments.items()})

    return __init__


def makers(cls: type) -> Iterator[type]:
    """Yield the class and the bases that define a constructor, in the order of resolution."""
    return (base for base in cls.__mro__ if "__init__" in vars(base))


def field_faults(cls: Any, arguments: dict[str, Any], num_layers: int | None) -> list[str]:
    """Return a line for each fault of the arguments of a declared class, before it is made."""
    blank: Any = object.__new__(cls)  # bounds and rules read arguments and defaults from it
    vars(blank).update(arguments)
    found, beside = [], Beside(blank, num_layers)
    for name, bounds in cls._types.items():
        key = f"{cls._key}.{name}"
        if hasattr(blank, name):
            found += value_faults(bounds, key, getattr(blank, name), beside)
        else:
            found.append(f"{key} is missing")
    return found or list(blank.rules(num_layers))


def argument_faults(cls: Any, num_layers: int | None, /, **arguments: Any) -> list[str]:
    """Return a line for each fault of a method's arguments. num_layers is None if not known yet."""
    if inspect.isabstract(cls):
        return [f"{cls.__name__} has no {' and no '.join(sorted(cls.__abstractmethods__))}"]
    if any(p.kind in VARIADIC for p in inspect.signature(cls).parameters.values()):
        return [f"{cls.__name__} must name its arguments: it lacks the decorator @method"]
    return cls.faults(num_layers, **arguments)


def kept_arguments(made: Any) -> dict[str, Any]:
    """Return the plain arguments that a method was made from."""
    return {name: getattr(made, name) for name in argument_names(type(made))}


@cache
def argument_names(cls: type) -> tuple[str, ...]:
    return tuple(inspect.signature(cls).parameters)


def faults_of(made: Any, num_layers: int | None) -> list[str]:
    """Return a line for each fault of a method in an encoder with so many layers."""
    return argument_faults(type(made), num_layers, **kept_arguments(made))


SLOTS: dict[str, type[Method]] = {}  # the base class of each slot


class Method:
    """The base class of all slots; the base class of a slot is a subclass with a `slot`.

    A class declares its arguments as fields with bounds, with the decorator `method`, and each
    becomes an attribute. A class from outside the package may have a constructor instead.

    A public name in a method's class must be a hook of its slot, an abstract method for its own
    subclasses, or an annotated argument. Names of helpers begin with an underscore. Any other name
    raises TypeError when the class is defined, since a misspelt hook would never be called.
    """

    def __init_subclass__(cls, slot: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if slot is not None:
            SLOTS[slot] = cls
        if not in_a_contract(cls):
            refuse_strangers(cls)

    def rules(self, num_layers: int | None) -> Iterable[str]:
        """Return a line for each conflict between arguments that are valid by themselves.

        Args:
            num_layers: of the encoder; None where it is not known yet.
        """
        return ()

    @classmethod
    def faults(cls, num_layers: int | None, /, **arguments: Any) -> list[str]:
        """Return a line (key, bound, value) for each invalid argument, before the method is
        created. Override it in a class that has a constructor instead of fields.

        Args:
            num_layers: of the encoder; None where it is not known yet.
            arguments: plain values, as in a yaml.
        """
        declared = "_types" in vars(next(makers(cls)))  # of a constructor nothing is known
        return field_faults(cls, arguments, num_layers) if declared else []

    def export_blockers(self) -> list[str]:
        """Return a line for each reason why this method cannot be exported."""
        return []


def overrides(method: Method | type[Method], hook: Callable[..., Any]) -> bool:
    """Whether a method's class overrides a hook, such as `overrides(rule, ExitRule.observe)`."""
    cls = method if isinstance(method, type) else type(method)
    return getattr(cls, hook.__name__) is not hook


VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def in_a_contract(cls: type) -> bool:
    return cls.__module__.startswith(f"{__package__}.")


def refuse_strangers(cls: type[Method]) -> None:
    """Raise TypeError if a class has a public name that is neither hook nor argument, or uses a
    hook's name for something else."""
    contract = next(base for base in cls.__mro__ if in_a_contract(base))
    for name, value in vars(cls).items():
        hook = getattr(contract, name, None)
        if name.startswith("_"):
            continue
        if inspect.isfunction(value) and inspect.isfunction(hook):
            refuse_other_parameters(f"{cls.__name__}.{name}", value, hook)
        elif name not in known_names(cls) and not getattr(value, "__isabstractmethod__", False):
            hooks = [hook for hook in dir(contract) if not hook.startswith("_")]
            near = did_you_mean(name, hooks) or " and no argument"
            raise TypeError(
                f"{cls.__name__}.{name} is no hook of {contract.__name__}{near} (an argument needs "
                f"its type, as in {name}: float = 0.5; begin a helper's name with _)"
            )


def known_names(cls: type) -> set[str]:
    """Return the names of a class's bases, hooks among them, and of its own arguments."""
    bases = cls.__mro__[1:]
    known = {name for base in bases for name in (*vars(base), *inspect.get_annotations(base))}
    own = inspect.get_annotations(cls).items()
    return known | {name for name, hint in own if "ClassVar" not in str(hint)}


def refuse_other_parameters(where: str, mine: Callable[..., Any], hook: Callable[..., Any]) -> None:
    """Raise TypeError if a function with a hook's name has other parameters: more or fewer, in
    another order, or with other axes by the end of the name ("logits_BC" for "logits_EBC")."""
    taken, theirs = (inspect.signature(each).parameters for each in (mine, hook))
    takes_all = any(each.kind in VARIADIC for each in taken.values())
    least = sum(each.default is each.empty for each in theirs.values())
    count = len(taken) > len(theirs) or (len(taken) < least and not takes_all)
    pairs = list(zip(taken, theirs, strict=False))
    reordered = any(one != other and one in theirs for one, other in pairs)
    axes = [(num_axes(one), num_axes(other)) for one, other in pairs]
    if count or reordered or any(one and other and one != other for one, other in axes):
        raise TypeError(
            f"{where}({', '.join([*taken][1:])}) has the name of a hook that takes "
            f"({', '.join([*theirs][1:])}): take these, or begin a helper's name with _"
        )


def num_axes(parameter: str) -> int:
    """Return the number of axes in a parameter's name: 3 for "logits_EBC", 0 if it has none."""
    end = parameter.rpartition("_")[2]
    return len(end) if end.isupper() else 0
