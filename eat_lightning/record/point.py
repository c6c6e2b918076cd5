"""An operating point: the engine, the precision, and the methods with the values of their knobs.

How good or how fast it is belongs to `Measured` (`record/measured.py`), which holds a point.
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
INT8_EXITS = {"int8 computation": "0.4.1"}  # the version since which it is as now: early heads too
NAMES = {"torch": "our kernels", "onnx": "onnxruntime", "openvino": "OpenVINO"}


def read_methods(given: Any) -> Any:
    """Read the method of each slot from what a file holds. Raises ValueError."""
    if not isinstance(given, Mapping):
        return given
    if unknown := given.keys() - {*MODEL_SLOTS}:
        raise ValueError(f"must be of {', '.join(MODEL_SLOTS)}, got {min(unknown)}")
    return {slot: Specification.read(slot, one) for slot, one in given.items()}


def read_policies(given: Any) -> Any:
    """Read policies from what a file holds. Raises ValueError."""
    if not isinstance(given, list | tuple):
        return given
    return tuple(Specification.read("policy", one) for one in given)


def read_counts(given: Any) -> Any:
    """Read counts by depth from what a file holds; JSON has strings as keys. Raises ValueError."""
    return {int(depth): n for depth, n in given.items()} if isinstance(given, Mapping) else given


def read_point(given: Any) -> Any:
    """Read a point from what a file holds. Raises ValueError."""
    return Point(**given) if isinstance(given, Mapping) else given


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Point:
    """How an example is answered. What is None or left out stays as the model has it.

    Args:
        engine: the engine that runs the layers.
        dtype: the precision of its matrix products.
        layout: layout of the weights (`weights.precision.FORMS`); None: the fastest that exists.
        methods: by slot (attention, reduction, exit), with the value of every knob. An exit whose
            value is the knob's strict end is closed.
        policies: policies that review the exits' decisions, in their order.
        counts: for lists, the number of candidates that go on after each depth.
        weights: folder, within the model's, of the weights to run; "": the model's own.
        before: in a cascade, the point that answers first; None: no cascade.
        margin: least margin (`AnswerKind.margin`) at which an answer of `before` is final. A text
            goes on if it ran all layers there and its margin is less.
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
        """Return a point without exits, at which every text runs all layers."""
        return cls(engine, dtype, methods={"exit": STATIC["exit"]}, weights=weights)

    @classmethod
    def of(cls, **methods: Any) -> Self:
        """Return the point of methods that were built, by slot; `policies` is a sequence."""
        policies = methods.pop("policies", None)
        named = {slot: Specification.of(slot, method) for slot, method in methods.items()}
        given = None if policies is None else [Specification.of("policy", x) for x in policies]
        return cls(methods=named, policies=None if given is None else tuple(given))

    @classmethod
    def read(cls, given: Any) -> Self:
        """Read what `as_dict` gives, as JSON has it. Raises ValueError if it is damaged."""
        if not isinstance(given, Mapping):
            raise ValueError(f"a point must be a dict, got {given!r:.80}")
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: engine, dtype, and what differs from the defaults."""
        usual = Point()
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        kept = {
            name: value
            for name, value in found.items()
            if name in ("engine", "dtype") or value != getattr(usual, name)
        }
        return json.loads(json.dumps(kept, default=as_dict))

    def at(self, **methods: Specification | None) -> Self:
        """Return the point with other methods in some slots; None leaves a slot out."""
        both = {**self.methods, **methods}
        return replace(self, methods={slot: one for slot, one in both.items() if one is not None})

    @cached_property
    def built(self) -> dict[str, Any]:
        """Its methods by slot. Raises ValueError if one cannot be built."""
        return {slot: one.build() for slot, one in self.methods.items()}

    def on(self, encoder: AdaptiveEncoder) -> AdaptiveEncoder:
        """Return a twin of an encoder with these methods, which shares its weights. Raises
        ValueError if they do not fit it."""
        last = encoder.shape.num_layers
        made = {slot: one.like(getattr(encoder, slot), last) for slot, one in self.methods.items()}
        return encoder.replacing(**made, policies=self.policies_like(encoder.policies))

    def policies_like(self, policies: Sequence[Policy]) -> Sequence[Policy]:
        """Return the given policies of a model if they are the point's or it names none; else build
        the point's. So what a model's policies have loaded is not loaded again."""
        if self.policies is None or [*self.policies] == specs_of(policies):
            return policies
        return build_policies([*self.policies])

    @property
    def backbone(self) -> str:
        """All methods but the exit rule, as a key: points with the same backbone share a pass."""
        shared = {slot: one for slot, one in self.methods.items() if slot != "exit"}
        return json.dumps([shared, self.policies or ()], sort_keys=True, default=as_dict)

    @property
    def has_exits(self) -> bool:
        """Whether a text may leave early."""
        own = self.methods.get("exit") != STATIC["exit"]
        return own or (self.before is not None and self.before.has_exits)

    @property
    def computation(self) -> dict[str, str]:
        """How our kernels compute early exits in int8, for certificates; empty for other points."""
        before = {} if self.before is None else self.before.computation
        ours = self.engine == "torch" and self.dtype == "int8"
        return before | (INT8_EXITS if ours and self.alone.has_exits else {})

    @property
    def is_static(self) -> bool:
        """Whether every text runs all layers of one model."""
        return self.before is None and not self.has_exits

    @property
    def falls_back(self) -> bool:
        """Whether the same model, in another precision, answers again where it was unsure."""
        return self.before is not None and self.before.weights == self.weights

    @property
    def again(self) -> str:
        """The precision in which it answers again, and the engine where that is another one."""
        moved = self.before is not None and self.before.engine != self.engine
        return f"{self.dtype} ({NAMES.get(self.engine, self.engine)})" if moved else self.dtype

    @property
    def alone(self) -> Self:
        """The same point without what answers before it."""
        return replace(self, before=None, margin=0.0)

    @property
    def runner(self) -> str:
        """Its engine and dtype, as a person reads them."""
        where = f"{self.weights} in " if self.weights else ""
        return f"{where}{NAMES.get(self.engine, self.engine)}, {self.dtype}"

    @property
    def key(self) -> str:
        """A short name for files, equal for equal points."""
        kind = "again" if self.falls_back else "cascade"
        words = [] if self.before is None else [kind, self.before.key, f"{self.margin:.6f}"]
        words += [self.engine, self.dtype]
        given = self.as_dict()
        rest = {name: given[name] for name in ("methods", "policies", "counts") if name in given}
        if rest and rest != {"methods": {"exit": {"kind": STATIC["exit"].kind}}}:
            words.append(f"exits-{crc32(json.dumps(rest, sort_keys=True).encode()):08x}")
        return " ".join(words)

    def __str__(self) -> str:
        """Return the point in one line, as a person reads it."""
        parts = [self.runner]
        if self.counts:
            parts += [f"{count} behind {depth}" for depth, count in self.counts.items()]
        parts += [str(one) for one in self.methods.values() if one != STATIC[one.slot]]
        line = ", ".join(parts)
        if self.before is None:
            return line
        return f"{self.before}, then {line} below a margin of {self.margin:.3g}"
