"""One validator: annotated types for the settings of commands and the arguments of methods.

    batch: Annotated[int, Whole(1)]
    share: Annotated[float, Within("[0, 1)")]

pydantic walks the types. Every fault is a line with key, bound and value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, ValidationError, ValidationInfo


def raise_faults(faults: Iterable[str]) -> None:
    faults = list(faults)
    if faults:
        raise ValueError("; ".join(faults))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ ": did you mean ratio?", or nothing where no known name is near."""
    near = get_close_matches(word, sorted(known), n=1, cutoff=0.7)
    return f": did you mean {near[0]}?" if near else ""


class Misshaped(ValueError):
    """Error of a method whose output has the wrong shape, in one line that names both shapes."""


def shape_text(given: Any) -> str:
    """ "32 x 2"; the type's name of what has no shape."""
    if not hasattr(given, "shape"):
        return type(given).__name__
    return " x ".join(map(str, given.shape)) or "a single number"


@dataclass(frozen=True)
class Beside:
    """Facts that a bound may read in addition to the value it checks.

    Args:
        method: an unmade method that holds all of its arguments, of which nothing is checked yet.
        num_layers: of the encoder; None where it is not known yet.
    """

    method: Any = None
    num_layers: int | None = None


NOTHING = Beside()


class Bound:
    """A part of an annotated type that bounds a value, before pydantic looks at its type. None
    passes where the type lets it."""

    def faults(self, value: Any, beside: Beside) -> list[str]:
        """Give each fault without its key: "must be 1 or more, got 0"."""
        raise NotImplementedError

    def lines(self, key: str, value: Any, num_layers: int | None = None) -> list[str]:
        """Give a line for each fault of a value that stands in no model."""
        return [f"{key} {fault}" for fault in self.faults(value, Beside(num_layers=num_layers))]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        may_be_none = type(None) in get_args(source)

        def bounded(value: Any, info: ValidationInfo) -> Any:
            beside = info.context if isinstance(info.context, Beside) else NOTHING
            faults = [] if value is None and may_be_none else self.faults(value, beside)
            if faults:
                raise ValueError("\n".join(faults))
            return value

        before: Any = BeforeValidator(bounded)
        return before.__get_pydantic_core_schema__(source, handler)


@dataclass(frozen=True)
class Check(Bound):
    """Whatever a function says of a value and of what stands beside it."""

    check: Callable[[Any, Beside], list[str]]

    def faults(self, value: Any, beside: Beside) -> list[str]:
        return self.check(value, beside)


@dataclass(frozen=True)
class Within(Bound):
    """A number in an interval written as in "[0, 1)"; `each`: or a list of such numbers."""

    interval: str
    each: bool = False

    def faults(self, value: Any, beside: Beside) -> list[str]:
        values = value if self.each and is_list(value) else [value]
        wrong = [one for one in values if not self.holds(one)]
        return [f"must be in {self.interval}, got {one!r}" for one in wrong]

    def holds(self, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        low, high = (float(x) for x in self.interval[1:-1].split(","))
        above = value >= low if self.interval[0] == "[" else value > low
        return above and (value <= high if self.interval[-1] == "]" else value < high)


@dataclass(frozen=True)
class Whole(Bound):
    """A whole number, `least` or more."""

    least: int

    def faults(self, value: Any, beside: Beside = NOTHING) -> list[str]:
        sound = is_whole(value) and value >= self.least
        return [] if sound else [f"must be {self.least} or more, got {value!r}"]


class OneOf(Bound):
    """One of several names; `null`: or None."""

    def __init__(self, *names: str, null: bool = False):
        self.names, self.null = names, null

    def faults(self, value: Any, beside: Beside) -> list[str]:
        if isinstance(value, str) and value in self.names:
            return []
        known = ", ".join(self.names) + " or null" * self.null
        return [f"must be one of {known}, got {value!r}"]


@dataclass(frozen=True)
class InLayers(Bound):
    """Distinct layers, `at_least` so many, from `lowest` (0: the embedding) to the last but
    `without_last`."""

    at_least: int = 0
    lowest: int = 1
    without_last: int = 0

    def faults(self, value: Any, beside: Beside) -> list[str]:
        if not is_list(value):
            return [f"must be a list of layers, got {value!r}"]
        if len(value) < self.at_least:
            return [f"must name {self.at_least} or more layers, got {list(value)}"]
        if wrong := [x for x in value if not is_whole(x)]:
            return [f"must hold whole numbers, got {wrong[0]!r}"]
        last = None if beside.num_layers is None else beside.num_layers - self.without_last
        bound = f"{self.lowest} or more" if last is None else f"in {self.lowest}..{last}"
        outside = [x for x in value if x < self.lowest or (last is not None and x > last)]
        faults = [f"must be {bound}, got {x}" for x in outside]
        if not outside and list(value) != sorted(value):
            faults.append(f"must ascend, got {list(value)}")
        twice = sorted({x for x in value if list(value).count(x) > 1})
        return faults + [f"must name a layer once, got {x} twice" for x in twice]


@dataclass(frozen=True)
class AtKnob(Bound):
    """A point of the method's knob; `each`: or a list with one for each of its layers."""

    each: bool = False

    def faults(self, value: Any, beside: Beside) -> list[str]:
        method = beside.method
        faults = Within(method.knob.bounds, self.each).faults(value, beside)
        return faults + (one_each(value, method.layers) if self.each else [])


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def one_each(values: Any, layers: Any) -> list[str]:
    """A list of settings must have one entry for each layer."""
    if is_list(values) and is_list(layers) and len(values) != len(layers):
        return [f"must have one value for each of {len(layers)} layers, got {len(values)}"]
    return []


def listed_layers(layers: Any, num_layers: Any) -> Any:
    """The layers that "all" stands for: every one but the last; "from_0": the embedding (0) too.
    Others are as given."""
    named = isinstance(layers, str) and layers in ("all", "from_0")
    return (
        list(range(int(layers == "all"), num_layers)) if named and is_whole(num_layers) else layers
    )


Layers = Annotated[Sequence[int], InLayers()]
Point = Annotated[float, AtKnob()]
Points = Annotated[float | Sequence[float], AtKnob(each=True)]
Positive = Annotated[float, Within("(0, inf)")]
NotNegative = Annotated[float, Within("[0, inf)")]
Count = Annotated[int, Whole(1)]

BOUNDS = {  # by pydantic's names of errors
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "too_short": "must be a list",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}


def fault_lines(error: ValidationError, key: str = "", known: Iterable[str] = ()) -> list[str]:
    """Give a line for each fault that pydantic found.

    Args:
        key: of the value that it looked at.
        known: keys of which the nearest is named beside an unknown one.
    """
    return [line for fault in error.errors() for line in lines_of(fault, key, known)]


def lines_of(fault: Any, key: str = "", known: Iterable[str] = ()) -> list[str]:
    key = ".".join(map(str, [*([key] if key else []), *fault["loc"]]))
    context = fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return [f"{key} is not an option{did_you_mean(key, known)}"]
        case "missing":
            return [f"{key} is missing"]
        case "value_error":
            return [f"{key} {text}".strip() for text in str(context["error"]).split("\n")]
        case "literal_error":
            bound = "must be one of " + context["expected"].replace("'", "").replace(" or ", ", ")
        case other:
            bound = BOUNDS.get(other, fault["msg"])
    return [f"{key} {bound}, got {fault['input']!r}"]


def fault_text(error: Exception) -> str:
    """Why a record or a file was refused, in one line."""
    from eat_lightning.errors import one_line  # brings Hydra, which a method need not

    if isinstance(error, ValidationError):
        unknown_first = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
        return one_line("; ".join(lines_of(fault)[0] for fault in unknown_first))
    return re.sub(r"^\w+\.__init__\(\) ", "", one_line(error))
