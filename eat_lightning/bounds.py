"""What can be wrong with plain arguments: lines that name key, bound and value.

Without torch: policies are asked where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


def raise_faults(faults: Iterable[str]) -> None:
    faults = list(faults)
    if faults:
        raise ValueError("; ".join(faults))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ ": did you mean ratio?", or nothing where no known name is near."""
    near = get_close_matches(word, sorted(known), n=1, cutoff=0.7)
    return f": did you mean {near[0]}?" if near else ""


class Misshaped(ValueError):
    """What a method gave has another shape than it must have: a line that names both."""


def shape_text(given: Any) -> str:
    """ "32 x 2"; the type's name of what has no shape."""
    if not hasattr(given, "shape"):
        return type(given).__name__
    return " x ".join(map(str, given.shape)) or "a single number"


def layer_faults(
    key: str, layers: Any, num_layers: int | None, at_least: int = 0, lowest: int = 1
) -> list[str]:
    """Layers must be distinct whole numbers from `lowest` (0: the embedding) to num_layers (None:
    not known yet)."""
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        return [f"{key} must be a list of layers, got {layers!r}"]
    if len(layers) < at_least:
        return [f"{key} must name {at_least} or more layers, got {list(layers)}"]
    wrong = [x for x in layers if not isinstance(x, int) or isinstance(x, bool)]
    if wrong:
        return [f"{key} must hold whole numbers, got {wrong[0]!r}"]
    bound = f"{lowest} or more" if num_layers is None else f"in {lowest}..{num_layers}"
    outside = [x for x in layers if x < lowest or (num_layers is not None and x > num_layers)]
    faults = [f"{key} must be {bound}, got {x}" for x in outside]
    if not outside and list(layers) != sorted(layers):
        faults.append(f"{key} must ascend, got {list(layers)}")
    twice = sorted({x for x in layers if list(layers).count(x) > 1})
    return faults + [f"{key} must name a layer once, got {x} twice" for x in twice]


def listed_layers(layers: Any, num_layers: Any) -> Any:
    """The layers that "all" stands for: every one but the last; "from_0": the embedding (0) too.
    Others are as given."""
    known = isinstance(num_layers, int) and num_layers is not True
    named = isinstance(layers, str) and layers in ("all", "from_0")
    return list(range(int(layers == "all"), num_layers)) if named and known else layers


def number_faults(key: str, values: Any, inside: str) -> list[str]:
    """Each number must lie in an interval written as in "[0, 1)"."""
    low, high = (float(x) for x in inside[1:-1].split(","))
    listed = isinstance(values, Sequence) and not isinstance(values, str)

    def sound(value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        above = value >= low if inside[0] == "[" else value > low
        return above and (value <= high if inside[-1] == "]" else value < high)

    wrong = [value for value in (values if listed else [values]) if not sound(value)]
    return [f"{key} must be in {inside}, got {value!r}" for value in wrong]


def switch_faults(key: str, value: Any) -> list[str]:
    return [] if isinstance(value, bool) else [f"{key} must be true or false, got {value!r}"]


def whole_faults(key: str, value: Any, least: int) -> list[str]:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return [] if whole and value >= least else [f"{key} must be {least} or more, got {value!r}"]


def one_each(key: str, values: Any, layers: Any) -> list[str]:
    """A list of settings must have one entry for each layer."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        return []
    if isinstance(layers, Sequence) and len(values) != len(layers):
        return [f"{key} must have one value for each of {len(layers)} layers, got {len(values)}"]
    return []
