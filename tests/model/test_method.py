"""Arguments declared once: fields with bounds, which the constructor and a plan check alike."""

import copy
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Annotated, Literal

import pytest
import torch
from helpers.finished import refused
from helpers.models import kinds
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from eat_lightning.model.contracts import Attention, ExitRule, Knob, at_point
from eat_lightning.model.method import (
    SLOTS,
    argument_faults,
    faults_of,
    kept_arguments,
    makers,
    method,
)
from eat_lightning.model.specification import class_of
from eat_lightning.validation import Count, Layers, Points, Positive, Share, in_layers


@method("exit")
class Every(ExitRule, nn.Module):
    """Has an argument of each kind."""

    share: Points = 0.5
    layers: Layers = (2, 4)
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    limit: Positive | None = None
    count: Count = 3
    on: bool = True
    side: Literal["left", "right"] = "left"
    shape: Literal["round", "flat"] | None = None

    seen: Tensor = field(init=False)
    knob = Knob("share", strict=0.0, grid=(0.5,), fine=(0.5,), bounds=Share)

    def decides(self, logits_EBC, signals_EBS=None): ...

    def __post_init__(self) -> None:
        self.register_buffer("seen", torch.full((self.count,), self.rate))
        self.inner = nn.Linear(1, 1)

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.count < len(self.layers):
            yield f"exit.count must be {len(self.layers)} or more, got {self.count}"


WRONG = {
    "share": (2, "exit.share must be at most 1, got 2"),
    "layers": ([4, 9], "exit.layers must be in 1..6, got 9"),
    "rate": ([0.1], "exit.rate must be a number, got [0.1]"),
    "limit": (0, "exit.limit must be above 0, got 0"),
    "count": (0, "exit.count must be 1 or more, got 0"),
    "on": (1, "exit.on must be true or false, got 1"),
    "side": ("up", "exit.side must be one of left, right, got 'up'"),
    "shape": ("big", "exit.shape must be one of round, flat, got 'big'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_out_of_types_is_named(name: str):
    value, line = WRONG[name]
    assert argument_faults(Every, 6, **{name: value}) == [line]
    if name != "layers":  # how many there are is not known to a constructor
        assert refused(Every, **{name: value}, error=ValueError) == line


def test_all_faults_come_at_once_and_rules_only_between_sound_fields():
    wrong = {name: value for name, (value, _) in WRONG.items()}
    assert argument_faults(Every, 6, **wrong) == [line for _, line in WRONG.values()]
    assert argument_faults(Every, 6, count=1, on=1) == ["exit.on must be true or false, got 1"]
    assert argument_faults(Every, 6, count=1) == ["exit.count must be 2 or more, got 1"]
    with pytest.raises(ValueError, match=r"exit.count must be 2 or more, got 1"):
        Every(count=1)
    (fault,) = argument_faults(Every, 6, share=[0.5])
    assert fault == "exit.share must have one value for each of 2 layers, got 1"


def test_a_module_is_made_and_sequences_are_kept_as_lists():
    made = Every((0.5, 0.25), (1, 3), count=2)
    assert (made.share, made.layers, made.limit, made.training) == ([0.5, 0.25], [1, 3], None, True)
    assert [*made.state_dict()] == ["seen", "inner.weight", "inner.bias"]
    assert made.seen.tolist() == pytest.approx([0.1, 0.1])
    assert [*kept_arguments(made)] == [*WRONG]
    assert faults_of(made, 6) == []
    assert faults_of(made, 2) == ["exit.layers must be in 1..2, got 3"]
    assert made != Every((0.5, 0.25), (1, 3), count=2)  # as torch compares: by identity
    assert hash(made) != hash(copy.copy(made))
    twin = at_point(made, 0.75)
    assert (twin.share, made.share) == (0.75, [0.5, 0.25])
    assert twin.inner is made.inner


def test_unknown_and_missing_arguments_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Every(colour=1)

    @method("exit")
    class Needs(ExitRule):
        layers: Annotated[Sequence[int], in_layers(at_least=1)]

        def decides(self, logits_EBC, signals_EBS=None): ...

    with pytest.raises(TypeError, match="missing a required argument: 'layers'"):
        Needs()
    assert argument_faults(Needs, 6) == ["exit.layers is missing"]
    assert Needs([1]).layers == [1]


def test_a_subclass_adds_and_changes_arguments():
    @method("exit")
    class More(Every):
        rate: Annotated[float, Field(ge=0, le=9)] = 8.0
        least: NonNegativeInt = 0

    assert [*kept_arguments(More())] == [*WRONG, "least"]
    assert More().seen.tolist() == [8.0] * 3
    assert argument_faults(More, 6, rate=10, least=-1) == [
        "exit.rate must be at most 9, got 10",
        "exit.least must be 0 or more, got -1",
    ]


class Plain(Attention):
    """Of another package, with a constructor in place of fields."""

    def sees(self, q, k): ...

    def __init__(self, half_window: int = 1):
        if half_window < 1:
            raise ValueError(f"reach must be 1 or more, got {half_window}")
        self.half_window = half_window


class Told(Plain):
    @classmethod
    def faults(cls, num_layers: int | None, half_window: int = 1) -> list[str]:
        return [] if half_window <= (num_layers or half_window) else ["reach is too long"]


class Stricter(Every):
    """A constructor of its own in front of a declared one, with other arguments."""

    def __init__(self, half: float = 0.25):
        super().__init__(2 * half, [1])
        self.half = half


def test_a_class_may_have_a_constructor_of_its_own():
    assert argument_faults(Plain, 6, half_window=0) == []  # its constructor says so
    assert argument_faults(Told, 6, half_window=7) == ["reach is too long"]
    assert faults_of(Told(7), 6) == ["reach is too long"]
    assert argument_faults(Stricter, 1, half=7) == []
    assert (Stricter().share, kept_arguments(Stricter())) == (0.5, {"half": 0.25})
    with pytest.raises(ValueError, match=r"exit.share must be at most 1, got 14"):
        Stricter(7)


@pytest.mark.parametrize("slot", SLOTS)
def test_the_shelf_declares_its_arguments(slot: str):
    """And a field of a class without the decorator would be none."""
    for kind in kinds(slot):
        cls = class_of(slot, kind)
        assert not inspect.signature(cls).parameters or "_types" in vars(next(makers(cls))), kind
        if hasattr(cls, "_types") and "_types" not in vars(cls):
            assert not vars(cls).get("__annotations__"), kind
