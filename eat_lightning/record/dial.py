"""A dial: operating points from strict to lax, each with its cost and its agreement with full
depth. A budget is looked up by cost, and a share of unchanged answers by agreement.

`along` makes the points of every dial: it replays given points on a record, and keeps those that
cost less than all before. They come from `dial_fit` (exits), `list_fit` (lists), or a knob's grid
(certificates).

A run keeps its dial in `<run>/dial/dial-<hash>.json`, with the `conditions` under which it is
valid. `runs.budgets` fits and writes it; this module finds it and puts its points on an encoder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from eat_lightning.errors import one_line
from eat_lightning.files import sha256_of
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import is_int8
from eat_lightning.model.policies import specs_of
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.record.measured import Cost, Measured
from eat_lightning.record.point import INT8_EXITS, Point
from eat_lightning.record.record import Record
from eat_lightning.untrusted import json_of
from eat_lightning.user_modules import sources_of
from eat_lightning.weights.files import model_files

FOLDER = "dial"
ROUNDING = 1e-9  # tolerance when costs and agreements, which are means, are compared
Unit = Literal["share", "ms", "layers"]


@dataclass(frozen=True)
class Budget:
    """A request for a point of the dial: at most this mean cost of an example, or at least this
    share of answers that are those of full depth.

    Args:
        amount: the bound.
        unit: "share" (of full FLOPs), "ms" (at batch 1), or "agree".
    """

    amount: float
    unit: Literal["share", "ms", "agree"] = "share"

    @classmethod
    def parse(cls, value: Any) -> Budget:
        """Read a cost such as 0.5 or "12ms". Raises ValueError with the bounds."""
        if isinstance(value, Budget):
            return value
        unit = "ms" if str(value).endswith("ms") else "share"
        amount = number(value if unit == "share" else str(value).removesuffix("ms"))
        if not 0 < amount <= (1 if unit == "share" else 1e6):
            bounds = "in (0, 1], a share of full FLOPs, or a time such as 12ms"
            raise ValueError(f"must be {bounds}, got {value}")
        return cls(amount, unit)

    @classmethod
    def parse_agreement(cls, value: Any) -> Budget:
        """Read a share of answers such as 0.99. Raises ValueError with the bounds."""
        if isinstance(value, Budget):
            return value
        amount = number(value)
        if not 0 < amount <= 1:
            bounds = "in (0, 1], the share of answers that stay what full depth says"
            raise ValueError(f"must be {bounds}, got {value}")
        return cls(amount, "agree")

    @property
    def cost_unit(self) -> Unit:
        """The unit of the dial in which the budget is looked up."""
        return "ms" if self.unit == "ms" else "share"

    @property
    def key(self) -> str:
        """The name of its setting."""
        return "agree" if self.unit == "agree" else "budget"

    def __str__(self) -> str:
        return f"{self.amount:g}" + ("ms" if self.unit == "ms" else "")


def number(value: Any) -> float:
    """Return a setting as a float; NaN if it is no number."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def along(
    points: Iterable[Point],
    record: Record,
    cost: Cost,
    original_BC: np.ndarray | None = None,
    full_cost: float | None = None,
) -> Iterator[Measured]:
    """Replay points, and yield those that cost less than all before them: the points of a dial.

    Args:
        points: from strict to lax; the first is full depth.
        cost: returns the mean cost of an example from a replay.
        original_BC: logits of the answers to agree with; None: those of the last layer.
        full_cost: cost of the first point; None: that of its replay.
    """
    least = float("inf")
    for point in points:
        found = Measured.of(point, record, cost, original_BC)
        if least == float("inf") and full_cost is not None:
            found = replace(found, cost=full_cost)
        if found.cost < least - ROUNDING:
            least = found.cost
            yield found


def best_of(points: Iterable[Measured]) -> list[Measured]:
    """Return the Pareto front: points that agree more than any cheaper one, the dearest first."""
    best: list[Measured] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.agreement)):
        if not best or point.agreement > best[-1].agreement:
            best.append(point)
    return best[::-1]


@dataclass(frozen=True)
class Dial:
    """Points from full depth to the laxest, each cheaper than the one before.

    Args:
        unit: unit of the costs: a share of full FLOPs, milliseconds, or layers.
        points: at least one.
        num_examples: number of examples that it was fitted on.
        fitted_for: the `conditions` under which it is valid.
        times: fields of the `CostTable` from which costs in milliseconds come; None in other units.
    """

    unit: Unit
    points: list[Measured]
    num_examples: int
    fitted_for: dict[str, Any] = field(default_factory=dict)
    times: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points must be at least one")
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit must be one of {', '.join(get_args(Unit))}, got {self.unit}")
        if not all(after.cost < point.cost for point, after in pairwise(self.points)):
            raise ValueError("points must cost less and less")

    @classmethod
    def read(cls, path: Path) -> Dial:
        """Read a dial from its file. Raises ValueError, in one line, if that is damaged or of a
        version before 0.4."""
        try:
            given = json_of(path)
            return cls(**given | {"points": [*map(Measured.read, given["points"])]})
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            reason = one_line(error, 120)
            raise ValueError(f"{path}: not a dial of this version ({reason}); delete it") from None

    def as_dict(self) -> dict[str, Any]:
        return vars(self)

    def down_to(self, wanted: Budget) -> list[Measured]:
        """Return the points from full depth to the one that is wanted. Raises ValueError if even
        the laxest costs more than the budget."""
        if wanted.unit == "agree":
            return self.points[: self.num_agreeing(wanted.amount)]
        most = wanted.amount + ROUNDING
        last = next((i for i, point in enumerate(self.points) if point.cost <= most), None)
        if last is None:
            unit = " ms" if self.unit == "ms" else ""
            least = f"{self.points[-1].cost:.3f}{unit}, what leaving as early as can be costs"
            raise ValueError(f"budget must be at least {least}, got {wanted}")
        return self.points[: last + 1]

    def at(self, wanted: Budget) -> Measured:
        """Return the dearest point within a budget, or the last one that agrees as much as
        wanted."""
        return self.down_to(wanted)[-1]

    def num_agreeing(self, least: float) -> int:
        """Return the number of points, from full depth on, before the first that agrees less than
        `least`. Full depth always counts."""
        for num_agreeing, point in enumerate(self.points):
            if point.agreement < least - ROUNDING:
                return max(1, num_agreeing)
        return len(self.points)


def conditions(model: Path, encoder: AdaptiveEncoder, fit_reduction: bool = True) -> dict[str, Any]:
    """Return the conditions under which a dial of a model folder is valid: the hash of the weights,
    methods, policies, dtype and, unless it is one class, the kind of answers. Methods from outside
    the package add the hash of their files. The value of the exit rule's knob is left out, since
    the dial sets it.

    Args:
        model: the folder that `encoder` was loaded from.
        fit_reduction: whether the reduction's knob is fitted too.
    """
    methods = [encoder.attention, encoder.reduction, encoder.exit, *encoder.policies]
    sources = sources_of(map(type, [*methods, *encoder.heads.values()]))
    specs, knob = specs_by_slot(encoder), encoder.exit.knob
    specs["exit"] = specs["exit"].without(knob and knob.name)
    return {
        "weights": sha256_of(model_files(model)),
        **{slot: method.as_dict() for slot, method in specs.items()},
        "policy": [policy.as_dict() for policy in specs_of(encoder.policies)],
        "dtype": dtype_of(encoder),
        "fit_reduction": fit_reduction and encoder.reduction.knob is not None,
        "closes_idle_exits": True,  # dials of before did not, and are fitted anew
        **(INT8_EXITS if is_int8(encoder) and len(encoder.heads) > 1 else {}),
        **encoder.kind.spec(),
        **({"sources": sources} if sources else {}),  # else dials of before would not be found
    }


def dtype_of(encoder: AdaptiveEncoder) -> str:
    """Return the dtype of an encoder as settings name it: "fp32", "bf16" or "int8"."""
    if is_int8(encoder):
        return "int8"
    kind = str(encoder.embedding.word.weight.dtype).removeprefix("torch.")
    return {"float32": "fp32", "bfloat16": "bf16"}.get(kind, kind)


def dial_file(folder: Path, stem: str, holds_for: dict[str, Any], suffix: str) -> Path:
    """Return the path of a file in a run's dial folder, one for each set of conditions."""
    settings = json.dumps(holds_for, sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return folder / FOLDER / f"{stem}-{digest}.{suffix}"


def find_dial(folder: Path, unit: Unit, here: dict[str, Any]) -> Dial | None:
    """Return the dial of a run in this unit whose conditions include `here`, or None. Raises
    ValueError, in one line, if a file is damaged."""
    for path in sorted((folder / FOLDER).glob("dial-*.json")):
        dial = Dial.read(path)
        fits = all(dial.fitted_for.get(key) == value for key, value in here.items())
        if fits and dial.unit == unit:
            return dial
    return None


def at_kept_point(model: Path, encoder: AdaptiveEncoder, wanted: Budget) -> AdaptiveEncoder:
    """Return a twin of an encoder at a point of the dial that its run keeps. Raises ValueError, in
    one line, if there is no such dial.

    Args:
        model: the run's model folder, which `encoder` was loaded from.
    """
    run = model.resolve().parent
    if not (model / "model.safetensors").is_file():
        raise ValueError(f"set_budget: {model} is no model folder of a run, which keeps the dial")
    dial = find_dial(run, "share", conditions(model, encoder)) if wanted.unit != "ms" else None
    if dial is None:
        what = "in milliseconds" if wanted.unit == "ms" else "for these methods"
        raise ValueError(
            f"set_budget: {run} keeps no dial {what}, got {wanted}: "
            f"`measure run={run} budgets=[0.5]` fits one in shares of full FLOPs"
        )
    return dial.at(wanted).point.on(encoder)
