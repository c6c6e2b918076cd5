"""The contracts of the slots, and how a method is named, checked, built and saved.

A method is one class in one module, `eat_lightning/methods/<slot>/<kind>.py`, made from plain
arguments that it keeps as attributes of the same names. It declares them as fields with their
bounds (`model/method.py`). A class from outside the package may have a constructor of its own
instead, and a classmethod `faults(num_layers, **arguments)` that lists what is wrong with them, one
line each.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import iter_modules
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.bounds import did_you_mean, number_faults, raise_faults
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import argument_faults, faults_of, kept_arguments
from eat_lightning.model.packed import Layout, Packed
from eat_lightning.model.wish import Asked, Wish
from eat_lightning.own import ALLOW, PLACES, import_own, is_there, own_classes

SLOTS = {  # what a class must have to fill the slot
    "attention": ("sees", "sees_all"),
    "reduction": ("place", "needs"),
    "exit": ("decides",),
    "head": ("pooled", "guess"),
    "policy": ("wishes", "reviews"),
    "objective": ("wants_teacher",),
    "schedule": ("stages",),
    "risk": ("losses", "low", "none_at_full_depth"),
    "procedure": ("certified", "needed", "promise", "refuses", "uses_confidence"),
}

MODEL_SLOTS = ("attention", "reduction", "exit")  # an encoder's attributes


@dataclass(frozen=True)
class Knob:
    """The one continuous operating point of a method: what sweeps, certificates, rows and plots
    turn, so that none of them knows the words tau or ratio.

    name: the argument that it sets. strict: the end at which the method saves nothing. grid: points
    worth measuring and timing, from strict to lax. fine: points to choose from, from strict to lax.
    bounds: the interval of its values, as in "(0, 1]". is_confidence: they are compared with the
    largest class probability, which is never below 1 / the number of classes.
    """

    name: str
    strict: float
    grid: tuple[float, ...]
    fine: tuple[float, ...]
    bounds: str
    is_confidence: bool = False

    def grid_for(self, num_labels: int) -> list[float]:
        """The grid, without the points at which nothing could change any more."""
        if not self.is_confidence or num_labels < 2:
            return list(self.grid)
        return [point for point in self.grid if point >= 1 / num_labels]


def knob_of(method: Any) -> Knob | None:
    """The knob of a method, None where it has none (`never`, `none`, `patience`)."""
    return getattr(method, "knob", None)


def point_of(method: Any) -> float | list[float] | None:
    """Where the knob of a method stands: one value, or one for each of its layers."""
    knob = knob_of(method)
    return None if knob is None else getattr(method, knob.name)


def points_by_layer(method: Any) -> dict[int, float]:
    """Where the knob of a method stands at each of its layers; empty where it has none."""
    point = point_of(method)
    if point is None:
        return {}
    points = point if isinstance(point, Sequence) else [point] * len(method.layers)
    return dict(zip(method.layers, points, strict=True))


def turned(method: Any, point: float | Sequence[float]) -> Any:
    """The same method (its parameters shared) with its knob at another point."""
    knob = knob_of(method)
    if knob is None:
        raise ValueError(f"{type(method).__name__} has no knob to turn")
    raise_faults(number_faults(knob.name, point, knob.bounds))
    twin = copy.copy(method)
    setattr(twin, knob.name, list(point) if isinstance(point, Sequence) else point)
    return twin


def only_open(exit: Any, policies: Sequence[Policy] = ()) -> Any:
    """The same rule without the exits whose point is the knob's strict end, so that their heads
    need not be asked; the rule itself where its decisions, or policies, look at earlier exits."""
    point, knob = point_of(exit), knob_of(exit)
    looks_back = policies or not getattr(exit, "last_only", False)
    if looks_back or knob is None or not isinstance(point, Sequence):
        return exit
    points = {layer: p for layer, p in points_by_layer(exit).items() if p != knob.strict}
    if len(points) == len(point):
        return exit
    twin = copy.copy(exit)
    twin.layers = [*points]
    setattr(twin, knob.name, [*points.values()])
    return twin


@dataclass
class Where:
    """Places of queries or keys, shaped to broadcast against each other; `layer` is 1-based."""

    index: Int[Tensor, ...]
    position: Int[Tensor, ...]
    length: Int[Tensor, ...]
    layer: int


@runtime_checkable
class Kernel(Protocol):
    """An attention product of its own, on packed rows."""

    def __call__(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
    ) -> Float[Tensor, "n h k"]: ...


@runtime_checkable
class Pattern(Protocol):
    """Who sees whom. A pattern may also have `kernel(layout, layer) -> Kernel | None`, a faster
    product that must agree with `sees` (None: not at these lengths); with it `flops(shape, layer,
    tokens_B)`, what that costs each example; `wants`, values of each row that the product takes by
    name ("position": `position_N`, "weight": `weight_N`); `bind`, as any method; and
    `lost_in_export()`, why no export can hold it.

    `approximate`: no mask says what the product does. It is in use at every length where `kernel`
    gives one, whatever a reduction needs, and evidence is that of softmax attention over the same
    queries and keys. There is no place in it for a relative-position bias.
    """

    def sees(self, q: Where, k: Where) -> Bool[Tensor, ...]: ...

    def sees_all(self, longest: int, layer: int) -> bool:
        """True where `sees` hides nothing at this length, so that no mask is built."""
        ...


def is_approximate(pattern: Any) -> bool:
    return getattr(pattern, "approximate", False)


@runtime_checkable
class Reduction(Protocol):
    """A packed batch in, a shorter one out, at each layer in `layers` (1-based; 0: the embedding).

    place: behind the layer, or within it between attention and feed-forward. needs: names of
    `Evidence`, which is made only where it is asked for.

    It may also have `knob`; `grad` (evidence with gradient); `varies` (how many rows stay is known
    only from their values); `wants` (names of notes, see `packed.NOTES`);
    `soften(packed, evidence, layer) -> Packed`, which acts in its place in a soft stage of
    training, at `soft_place`; `bind(shape, exits, num_labels)`, which makes its parameters,
    `groups(lr)`, their optimizer groups, and `after_step()`, called behind each step;
    `flops(shape, layer, tokens_B) -> B` numbers, what choosing costs each example;
    `search(evaluate, seed)`, the best points of its knob by growing `cost` and `score`, which
    `evaluate(point)` gives; `lost_in_export()`, lines that say why no export can hold it.
    """

    place: Literal["after_layer", "after_attention"]
    needs: frozenset[str]
    layers: Sequence[int]

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        """Give the rows that stay: [CLS] of each example first, the others in their order, and all
        of them where `packed.strength_B` is 0. Another type than Packed raises Misshaped."""
        ...


@runtime_checkable
class Exit(Protocol):
    """An exit rule, asked at each of its `layers` (1-based) but the last layer, where all leave.

    It may also have `reasons`, names of why an example leaves (else "exit" alone); `knob`, at whose
    strict end nobody leaves; `last_only` (a decision looks at no exit but its own, so that one
    where nobody leaves need not be asked); `classes_only` (refused for regressions);
    `observe(packed, pooled_BD, logits_BC, layer)` -> B x S, signals that are recorded beside the
    logits and come as `decides(logits_EBC, signals_EBS)`, E x B x S (no export holds such a rule),
    and `by_class` where these have a place for each class, in their order; `wants` (names of notes,
    see `packed.NOTES`); `answers(logits_EBC)` -> B x C, what an example leaves with (else its last
    guess); `margin(logits_EBC)` -> B, how near a decision was, where an export is compared;
    `bind(shape, exits, num_labels)`, which makes its parameters, and `penalties(context)`, its own
    terms of the loss, summed over examples; `flops(shape, num_labels)`, what deciding at one head
    costs; and `lost_in_export()`, lines that say why no export can hold it.
    """

    layers: Sequence[int]

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        """Say who leaves here: 0 for an example that stays, 1 + i for one that leaves for
        `reasons[i]`; another shape than B raises Misshaped.

        logits_EBC: of the B examples still here, divided by each head's temperature, at those of
        `layers` that were passed, this one last: len(logits_EBC) is 1 at the first of `layers`, 2
        at the second, and so on."""
        ...


@runtime_checkable
class Head(Protocol):
    """From the vectors of an example to a guess: calibrated logits of what it pools. Its
    `bind(shape, exits, num_labels)` makes its parameters, `temperature` is a buffer of them, and
    `flops(shape, num_labels, tokens_B)` what a guess costs.

    It may also have `wants_earlier` (`guess` is given what each exit before it pooled, too),
    `join(layer, heads)` (called when all heads are made: where it stands among the others),
    `penalties(context)`, its own terms of the loss; `own_width` (what it pools is not of the
    encoder's width); and `lost_in_export()`, why no export can hold it.
    """

    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]: ...

    def guess(self, pooled_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]: ...


@runtime_checkable
class Policy(Protocol):
    """Asked beside any exit rule: before the examples start, and where the rule would let one go.
    What it keeps must not depend on the batch, since batches overlap in a service. It sees plain
    arrays and no model, so that the same policy serves the encoder and an export without torch.

    `reviews`: the reasons at an early exit as they were decided so far -> as they are after this
    policy: as given, 0 = stays, VETOED = stays here and this is why, FALLBACK = runs every layer,
    or another reason to go. Its word counts only for those who would go. rows_B: places in `asked`
    of the examples still here. A policy may also have `fits(encoder, labels, folder)`, which lists
    what of a model (`folder`: its files, or None) does not go with it; `lost_in_export()`, which
    lists what of it an export cannot do; `asks()`, under which names it asks what is known of an
    example; `idle_beside(exit)`, which says why it would never be heard beside an exit rule; and
    `of_this_machine`, the arguments that name files and so are not taken from a model folder.
    """

    def wishes(self, asked: Asked, reduction: Reduction | None) -> Wish:
        """`reduction` None: strengths are not asked for."""
        ...

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        asked: Asked,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]: ...


def home(slot: str) -> str:
    """The package whose modules are the kinds of a slot."""
    room = "deploy.certify" if slot in ("risk", "procedure") else "methods"
    return f"eat_lightning.{room}.{slot}"


def class_of(slot: str, kind: str) -> type:
    """The class of a method. A kind with a dot names a class from outside the package, which its
    owner must have imported, or named in EAT_IMPORT: a checkpoint never makes us import code."""
    if slot not in SLOTS:
        raise ValueError(f"slot must be one of {', '.join(SLOTS)}, got {slot!r}")
    parts = kind.split(".") if isinstance(kind, str) else [""]  # a file may say anything
    if not all(map(str.isidentifier, parts)) or (len(parts) == 1 and kind.startswith("_")):
        raise ValueError(f"{slot}.kind must be a method's file name, got {kind!r}")
    if len(parts) > 1:
        return class_outside(slot, kind)
    try:
        module = importlib.import_module(f"{home(slot)}.{kind}")
    except ModuleNotFoundError:
        raise ValueError(unknown_kind(slot, kind)) from None
    return next(
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and not issubclass(value, int)
        and not value.__name__.startswith("_")
    )


def unknown_kind(slot: str, kind: str) -> str:
    """The nearest kind, or else what is there: the shelf, and the form of a class of one's own."""
    absent = f"{slot}.kind: there is no {slot} called {kind!r}"
    shelf = importlib.import_module(home(slot)).__path__
    known = sorted(m.name for m in iter_modules(shelf) if not m.name.startswith("_"))
    if near := did_you_mean(kind, [*known, *own_classes(SLOTS[slot])]):
        return absent + near
    if "." in kind:
        return f"{absent}: its module must lie in {PLACES}"
    own = f"{kind}.{''.join(part[:1].upper() + part[1:] for part in kind.split('_'))}"
    return f"{absent}: one of {', '.join(known)}, or a class of one's own as {own}"


def class_outside(slot: str, kind: str) -> type:
    module_name, _, name = kind.rpartition(".")
    if module_name not in sys.modules:
        import_own(module_name)
    if module_name not in sys.modules:
        if not is_there(module_name.partition(".")[0]):  # of a dotted name it would import a part
            raise ValueError(unknown_kind(slot, kind))
        ways = f"import {module_name} before loading this model, or give {ALLOW}={module_name}"
        raise ValueError(f"{slot}.kind {kind!r}: {ways}")
    # Not getattr: a module may import what it is asked for.
    cls = vars(sys.modules[module_name]).get(name)
    # Nothing is called before this: a kind such as os.system must not run.
    if not inspect.isclass(cls) or not all(hasattr(cls, part) for part in SLOTS[slot]):
        near = did_you_mean(kind, own_classes(SLOTS[slot]))
        raise ValueError(f"{slot}.kind {kind!r} is no class with {' and '.join(SLOTS[slot])}{near}")
    return cls


def build(slot: str, spec: dict[str, Any]) -> Any:
    """{"kind": "norm_topk", "ratio": 0.3} -> the method; ValueError names what does not fit."""
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        raise ValueError(f'{slot} must be a dict such as {{"kind": "<method>"}}, got {spec!r}')
    arguments = without_kind(spec)
    cls = class_of(slot, spec["kind"])
    unknown = set(arguments) - set(inspect.signature(cls).parameters)
    if unknown:
        raise ValueError(f"{slot}.{min(unknown)} is not an option of {spec['kind']}")
    return cls(**arguments)


def build_all(specs: dict[str, dict[str, Any]], num_layers: int) -> dict[str, Any]:
    """A method for each slot named; ValueError lists all faults, those of the layers included."""
    methods, faults = {}, []
    for slot, chosen in specs.items():
        try:
            methods[slot] = build(slot, chosen)
            faults += faults_of(methods[slot], num_layers)
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(str(error))
    raise_faults(faults)
    return methods


def without_kind(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "kind"}


def spec(slot: str, method: Any) -> dict[str, Any]:
    """The inverse of `build`: the kind and the plain arguments of a method."""
    cls = type(method)
    prefix = f"{home(slot)}."
    inside = cls.__module__.startswith(prefix)
    kind = cls.__module__.removeprefix(prefix) if inside else f"{cls.__module__}.{cls.__qualname__}"
    return {"kind": kind} | kept_arguments(method)


def specs_by_slot(encoder: Any) -> dict[str, Any]:
    """The specs of an encoder's methods."""
    return {slot: spec(slot, getattr(encoder, slot)) for slot in MODEL_SLOTS}


def untrained(slot: str, method: Any, trained: str) -> list[str]:
    """A method that learns can only be the one that a run was trained with."""
    kind = spec(slot, method)["kind"]
    if not hasattr(method, "bind") or kind == trained:
        return []
    return [f"{slot}={kind} learns, and this run was trained with {trained}: train one with it"]


def method_faults(slot: str, node: Any, num_layers: int | None) -> list[str]:
    """Faults of a slot's method: its names first, then its values."""
    from eat_lightning.config import arguments, binding_faults, target

    faults = binding_faults(slot, node)
    if faults:
        return faults
    cls = target(node)
    lacking = [part for part in SLOTS.get(slot, ()) if not hasattr(cls, part)]
    if lacking:
        return [f"{slot}._target_: {cls.__name__} has no {' and no '.join(lacking)}"]
    return argument_faults(cls, num_layers, **arguments(node))
