"""A point: what answers, in which precision, and with which methods at which values.

It says nothing about how good or how fast that is: what was found out about a point is a `Measured`
beside it (`record/dial.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zlib import crc32

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from eat_lightning.files import as_dict
from eat_lightning.model.policies import build_policies, specs_of
from eat_lightning.model.policy import Policy
from eat_lightning.model.specification import MODEL_SLOTS, STATIC, Specification

if TYPE_CHECKING:
    from eat_lightning.model.encoder import AdaptiveEncoder

Engine = Literal["transformers", "torch", "onnx", "openvino"]
Dtype = Literal["fp32", "bf16", "int8"]
NAMES = {"torch": "our kernels", "onnx": "onnxruntime", "openvino": "OpenVINO"}


def read_methods(given: Any) -> Any:
    """The specification of each slot's method, from what a file has; ValueError."""
    if not isinstance(given, Mapping):
        return given
    if unknown := given.keys() - {*MODEL_SLOTS}:
        raise ValueError(f"must be of {', '.join(MODEL_SLOTS)}, got {min(unknown)}")
    return {slot: Specification.read(slot, one) for slot, one in given.items()}


def read_policies(given: Any) -> Any:
    """The specifications of policies, from what a file has; ValueError."""
    if not isinstance(given, list | tuple):
        return given
    return tuple(Specification.read("policy", one) for one in given)


def read_counts(given: Any) -> Any:
    """Counts by depth, from what a file has: JSON's keys are words. ValueError."""
    return {int(depth): n for depth, n in given.items()} if isinstance(given, Mapping) else given


def read_point(given: Any) -> Any:
    """A point from what a file has of it; ValueError."""
    return Point(**given) if isinstance(given, Mapping) else given


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Point:
    """What answers an example, and how. What is None or left out stays as the model has it.

    Args:
        engine: that runs the layers.
        dtype: that it multiplies in.
        layout: of the weights (`weights.precision.FORMS`); None: the fastest that there is.
        methods: by slot (attention, reduction, exit), with the value of every knob. An exit whose
            value is the knob's strict end is closed.
        policies: that review the exits' decisions.
        counts: candidates of a list that go on behind each depth.
        weights: the folder, within the model's own, of the weights that run; "": the model's.
        before: what answers first; None: nothing does.
        margin: with which an answer of `before` stands (`AnswerKind.margin`). A text goes on where
            it ran all layers there, and the margin of its answer is less.
    """

    engine: Engine = "torch"
    dtype: Dtype = "fp32"
    layout: Literal["plain", "prepacked"] | None = None
    methods: Annotated[Mapping[str, Specification], BeforeValidator(read_methods)] = Field(
        default_factory=dict
    )
    policies: Annotated[tuple[Specification, ...] | None, BeforeValidator(read_policies)] = None
    counts: Annotated[Mapping[int, int] | None, BeforeValidator(read_counts)] = None
    weights: str = ""
    before: Annotated[Point | None, BeforeValidator(read_point)] = None
    margin: float = 0.0

    @classmethod
    def whole(cls, engine: Engine = "torch", dtype: Dtype = "fp32", weights: str = "") -> Self:
        """All layers for every text: no exits."""
        return cls(engine, dtype, methods={"exit": STATIC["exit"]}, weights=weights)

    @classmethod
    def of(cls, **methods: Any) -> Self:
        """From methods that were built, by slot; `policies` are a sequence of them."""
        policies = methods.pop("policies", None)
        named = {slot: Specification.of(slot, method) for slot, method in methods.items()}
        given = None if policies is None else [Specification.of("policy", x) for x in policies]
        return cls(methods=named, policies=None if given is None else tuple(given))

    @classmethod
    def read(cls, given: Any) -> Self:
        """From what `as_dict` gives, as JSON has it. ValueError where it is damaged."""
        if not isinstance(given, Mapping):
            raise ValueError(f"a point must be a dict, got {given!r:.80}")
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Plain values as JSON has them: engine and dtype, and what differs from the defaults."""
        usual = Point()
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        kept = {
            name: value
            for name, value in found.items()
            if name in ("engine", "dtype") or value != getattr(usual, name)
        }
        return json.loads(json.dumps(kept, default=as_dict))

    def at(self, **methods: Specification | None) -> Self:
        """The same with other methods in some slots; None leaves a slot out."""
        both = {**self.methods, **methods}
        return replace(self, methods={slot: one for slot, one in both.items() if one is not None})

    @cached_property
    def built(self) -> dict[str, Any]:
        """Its methods by slot. ValueError where one cannot be built."""
        return {slot: one.build() for slot, one in self.methods.items()}

    def on(self, encoder: AdaptiveEncoder) -> AdaptiveEncoder:
        """A twin of an encoder with these methods, which shares its weights. ValueError where they
        do not fit it."""
        last = encoder.shape.num_layers
        made = {slot: one.like(getattr(encoder, slot), last) for slot, one in self.methods.items()}
        return encoder.replacing(**made, policies=self.policies_like(encoder.policies))

    def policies_like(self, policies: Sequence[Policy]) -> Sequence[Policy]:
        """The policies that a model has, where these are the same or are left out; else new ones.
        What those of a model have loaded is not loaded again."""
        if self.policies is None or [*self.policies] == specs_of(policies):
            return policies
        return build_policies([*self.policies])

    @property
    def backbone(self) -> str:
        """All but the exit rule: points of one backbone share a pass."""
        shared = {slot: one for slot, one in self.methods.items() if slot != "exit"}
        return json.dumps([shared, self.policies or ()], sort_keys=True, default=as_dict)

    @property
    def has_exits(self) -> bool:
        """True where a text may leave early."""
        own = self.methods.get("exit") != STATIC["exit"]
        return own or (self.before is not None and self.before.has_exits)

    @property
    def is_static(self) -> bool:
        """True where every text runs all layers of one model."""
        return self.before is None and not self.has_exits

    @property
    def falls_back(self) -> bool:
        """True where the same model answers again, in another precision, what it was not sure of
        at first."""
        return self.before is not None and self.before.weights == self.weights

    @property
    def again(self) -> str:
        """The precision in which it answers again, and the engine where that is another one."""
        moved = self.before is not None and self.before.engine != self.engine
        return f"{self.dtype} ({NAMES.get(self.engine, self.engine)})" if moved else self.dtype

    @property
    def alone(self) -> Self:
        """The same with nothing before it."""
        return replace(self, before=None, margin=0.0)

    @property
    def runner(self) -> str:
        """Its engine and dtype, for a person."""
        where = f"{self.weights} in " if self.weights else ""
        return f"{where}{NAMES.get(self.engine, self.engine)}, {self.dtype}"

    @property
    def key(self) -> str:
        """A short name, equal for equal points, that a file may have."""
        kind = "again" if self.falls_back else "cascade"
        words = [] if self.before is None else [kind, self.before.key, f"{self.margin:.6f}"]
        words += [self.engine, self.dtype]
        given = self.as_dict()
        rest = {name: given[name] for name in ("methods", "policies", "counts") if name in given}
        if rest and rest != {"methods": {"exit": {"kind": STATIC["exit"].kind}}}:
            words.append(f"exits-{crc32(json.dumps(rest, sort_keys=True).encode()):08x}")
        return " ".join(words)

    def __str__(self) -> str:
        """The point in one line, for a person."""
        parts = [self.runner]
        if self.counts:
            parts += [f"{count} behind {depth}" for depth, count in self.counts.items()]
        parts += [str(one) for one in self.methods.values() if one != STATIC[one.slot]]
        line = ", ".join(parts)
        if self.before is None:
            return line
        return f"{self.before}, then {line} below a margin of {self.margin:.3g}"
