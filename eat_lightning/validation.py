"""What breaks the bounds of settings and of methods' arguments, in one line each. Bounds are
pydantic's:

    batch: Count
    share: Annotated[float, Field(ge=0, lt=1)]

Every line has key, bound and value, or the nearest name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

# Of all that is checked. pydantic compares NaN with no bound, so it must be refused by itself.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


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
    """What a validator may read beside the value: the context of a validation.

    Args:
        method: an unmade method that holds all of its arguments, of which nothing is checked yet.
        num_layers: of the encoder; None where it is not known yet.
    """

    method: Any = None
    num_layers: int | None = None


def in_layers(at_least: int = 0, lowest: int = 1, without_last: int = 0) -> AfterValidator:
    """A bound of a list of layers: they ascend, from `lowest` (0: the embedding) to the last but
    `without_last`, and are `at_least` so many."""

    def check(layers: Sequence[int], info: ValidationInfo) -> Sequence[int]:
        num_layers = None if info.context is None else info.context.num_layers
        last = None if num_layers is None else num_layers - without_last
        bound = f"{lowest} or more" if last is None else f"in {lowest}..{last}"
        outside = [x for x in layers if x < lowest or (last is not None and x > last)]
        faults = [f"must be {bound}, got {x}" for x in outside]
        if len(layers) < at_least:
            faults = [f"must name {at_least} or more layers, got {list(layers)}"]
        elif not outside and list(layers) != sorted(layers):
            faults.append(f"must ascend, got {list(layers)}")
        twice = sorted({x for x in layers if list(layers).count(x) > 1})
        faults += [f"must name a layer once, got {x} twice" for x in twice]
        if faults:
            raise ValueError("\n".join(faults))
        return layers

    return AfterValidator(check)


def each(bounds: Any) -> BeforeValidator:
    """A bound of one value, or of a list of values."""

    def check(value: Any) -> Any:
        for one in value if is_list(value) else [value]:
            adapter(bounds).validate_python(one)
        return value

    return BeforeValidator(check)


def at_knob(value: Any, info: ValidationInfo) -> Any:
    """A bound of an argument that is its method's knob: a point of it, or a list with one for each
    of the method's layers."""
    method: Any = info.context and info.context.method
    for point in value if is_list(value) else [value]:
        adapter(method.knob.bounds).validate_python(point)
    for fault in one_each(value, method.layers):
        raise ValueError(fault)
    return value


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


Layers = Annotated[Sequence[int], in_layers()]
Point = Annotated[float, BeforeValidator(at_knob)]
Points = Annotated[float | Sequence[float], BeforeValidator(at_knob)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

BOUNDS: dict[str, str] = {  # by pydantic's names of errors
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "sequence_str": "must be a list",
    "too_short": "must list {min_length} or more",
    "dict_type": "must be a mapping",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
}


@cache
def adapter(bounds: Any) -> TypeAdapter[Any]:
    return TypeAdapter(bounds, config=STRICT)


def value_faults(bounds: Any, key: str, value: Any, beside: Beside | None = None) -> list[str]:
    """Give a line for each fault of a value.

    Args:
        bounds: the type that it must be of, such as `Count`.
        key: what a person calls it.
        value: what was given.
        beside: what validators may read beside it.
    """
    try:
        adapter(bounds).validate_python(value, context=beside)
    except ValidationError as error:
        return fault_lines(error, key)
    return []


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
        case "is_instance_of" if context["class"] == "Sequence":
            bound = BOUNDS["list_type"]
        case other:
            limits = {name: str(limit).removesuffix(".0") for name, limit in context.items()}
            bound = BOUNDS[other].format(**limits) if other in BOUNDS else fault["msg"]
    return [f"{key} {bound}, got {fault['input']!r}"]


def fault_text(error: Exception) -> str:
    """Why a record or a file was refused, in one line."""
    from eat_lightning.errors import one_line  # brings Hydra, which a method need not

    if isinstance(error, ValidationError):
        unknown_first = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
        return one_line("; ".join(lines_of(fault)[0] for fault in unknown_first))
    return re.sub(r"^\w+\.__init__\(\) ", "", one_line(error))
