"""The hooks that methods of several slots share, and the check that none is misspelt."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from inspect import get_annotations
from typing import TYPE_CHECKING, Any

from eat_lightning.model.contracts.knob import Knob
from eat_lightning.model.method import declared_faults
from eat_lightning.validation import Within, did_you_mean, raise_faults

if TYPE_CHECKING:
    from torch import Tensor

    from eat_lightning.model.training import Context


class Method:
    """The base of every contract.

    A class states its arguments as fields with bounds, under the decorator of `model/method.py`,
    and keeps each as an attribute of the same name. A class from outside the package may have a
    constructor instead, which does the same.

    A public name in a method's class is a hook of its contract, an abstract method for its own
    subclasses, or an annotated argument. Names of helpers begin with an underscore. Any other name
    raises TypeError where the class is made, since a misspelt hook would never be called.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.__module__.startswith(f"{__package__}."):
            refuse_unknown_names(cls)

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
        return declared_faults(cls, num_layers, **arguments)

    def export_blockers(self) -> list[str]:
        """Give a line for each reason why an exported graph cannot do what this method does."""
        return []


class Learner(Method):
    """A method that may have parameters; one that has them is an `nn.Module` too."""

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Give optimizer groups for parameters with a rate, a decay or a sign of their own, as
        torch's optimizers take them.

        A group may name a `travel` in place of `lr`: how far a parameter can move in the soft
        stages of a run.

        Args:
            lr: the learning rate of the run.
        """
        return []

    def after_step(self) -> None:
        """Put parameters back within their bounds, after each step of the optimizer."""


class EncoderPart(Learner):
    """A method that stands in an encoder: attention, reduction, exit rule or head."""

    knob: Knob | None = None  # the argument that is the one continuous operating point

    def bind(self, shape: Any, exits: Sequence[int], num_labels: int) -> None:
        """Make the parameters. A class that overrides this learns, and is used in no encoder that
        was trained without it.

        Args:
            shape: the encoder's `Shape`, its sizes.
            exits: layers (1-based) with heads, the last included.
            num_labels: classes, or 1 for a regression.
        """

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """Give terms of the loss by name, each with a value for every example (B)."""
        return {}


def overrides(method: Method | type[Method], hook: Callable[..., Any]) -> bool:
    """True where a method's class has a hook of its own: `overrides(rule, ExitRule.observe)`."""
    cls = method if isinstance(method, type) else type(method)
    return getattr(cls, hook.__name__) is not hook


def point_of(method: EncoderPart) -> float | list[float] | None:
    """Where the knob of a method stands: one value, or one for each of its layers."""
    return None if method.knob is None else vars(method)[method.knob.name]


def points_by_layer(method: Any) -> dict[int, float]:
    """Where the knob of a method stands at each of its layers; empty where it has none."""
    point = point_of(method)
    if point is None:
        return {}
    points = point if isinstance(point, Sequence) else [point] * len(method.layers)
    return dict(zip(method.layers, points, strict=True))


def turned(method: Any, point: float | Sequence[float]) -> Any:
    """The same method (its parameters shared) with its knob at another point."""
    if method.knob is None:
        raise ValueError(f"{type(method).__name__} has no knob to turn")
    raise_faults(Within(method.knob.bounds, each=True).lines(method.knob.name, point))
    twin = copy.copy(method)
    setattr(twin, method.knob.name, list(point) if isinstance(point, Sequence) else point)
    return twin


def refuse_unknown_names(cls: type[Method]) -> None:
    """Raise TypeError where a class has a public name that is neither hook nor argument."""
    contract = next(base for base in cls.__mro__ if base.__module__.startswith(f"{__package__}."))
    known = {name for base in cls.__mro__[1:] for name in {*vars(base), *get_annotations(base)}}
    known |= {name for name, hint in get_annotations(cls).items() if "ClassVar" not in str(hint)}
    for name, value in vars(cls).items():
        abstract = getattr(value, "__isabstractmethod__", False)
        if name.startswith("_") or name in known or abstract:
            continue
        hooks = [hook for hook in dir(contract) if not hook.startswith("_")]
        raise TypeError(
            f"{cls.__name__}.{name} is no hook of {contract.__name__}"
            f"{did_you_mean(name, hooks) or ' and no argument'} (begin a helper's name with _)"
        )
