"""A dial: points from strict to lax, each with what it costs and how many answers it leaves as they
were. A budget and a share of unchanged answers both look up in it.

One function makes every dial, from a record, points in their order and their costs: `along`. The
points come from `dial_fit` (exits), `list_fit` (lists), or a knob's grid (certificates).

`<run>/dial/dial-<hash>.json` holds that of a run, and all that it was fitted for. `runs.budgets`
fits and writes it; here it is found and put on an encoder, as the Hugging Face class does too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
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
from eat_lightning.model.trace import Trace
from eat_lightning.record.list_losses import lost_Q
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.untrusted import json_of
from eat_lightning.user_modules import sources_of

FOLDER = "dial"
ROUNDING = 1e-9  # of a mean of shares
Unit = Literal["share", "ms", "layers"]
Cost = Callable[[Point, Trace], float]  # of an example, in the mean over a replay


@dataclass(frozen=True)
class Budget:
    """A request for a point of the dial: the mean cost of an example at most (a share of full
    FLOPs, or milliseconds at batch 1), or the share of answers at least that stay what full depth
    says."""

    amount: float
    unit: Literal["share", "ms", "agree"] = "share"

    @classmethod
    def parse(cls, value: Any) -> Budget:
        """0.5 or "12ms"; ValueError names the bounds."""
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
        """0.99; ValueError names the bounds."""
        if isinstance(value, Budget):
            return value
        amount = number(value)
        if not 0 < amount <= 1:
            bounds = "in (0, 1], the share of answers that stay what full depth says"
            raise ValueError(f"must be {bounds}, got {value}")
        return cls(amount, "agree")

    @property
    def cost_unit(self) -> Unit:
        """The unit of the costs of the dial in which it is looked up."""
        return "ms" if self.unit == "ms" else "share"

    @property
    def key(self) -> str:
        """The setting that states it."""
        return "agree" if self.unit == "agree" else "budget"

    def __str__(self) -> str:
        return f"{self.amount:g}" + ("ms" if self.unit == "ms" else "")


def number(value: Any) -> float:
    """A float of a setting; NaN where it is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def measured(
    point: Point, record: Record, cost: Cost, original_BC: np.ndarray | None = None
) -> Measured:
    """What a replay tells of a point.

    Args:
        original_BC: logits of the answers to stay with; None are those of the last layer.
    """
    trace = record.replay(point)
    found = Measured(point, cost=cost(point, trace), depth=float(trace.depth_B.mean()))
    if record.keep is not None:
        return replace(found, agreement=1 - float(lost_Q(record, trace).mean()))
    kind, right_B = record.kind, record.kind.right(trace.logits_BC, record.targets)
    original_BC = record.full_BC if original_BC is None else original_BC
    same_B = kind.same(trace.logits_BC, original_BC)
    accuracy = float(np.nan_to_num(right_B).mean())
    return replace(found, agreement=float(same_B.mean()), accuracy=accuracy)


def along(
    points: Iterable[Point],
    record: Record,
    cost: Cost,
    original_BC: np.ndarray | None = None,
    full_cost: float | None = None,
) -> Iterator[Measured]:
    """Yield the points of a dial: those that cost less than all before them.

    Args:
        points: from strict to lax; the first is full depth.
        original_BC: as `measured` has it.
        full_cost: of the first, where it is not that of a replay.
    """
    least = float("inf")
    for point in points:
        found = measured(point, record, cost, original_BC)
        if least == float("inf") and full_cost is not None:
            found = replace(found, cost=full_cost)
        if found.cost < least - ROUNDING:
            least = found.cost
            yield found


def best_of(points: Iterable[Measured]) -> list[Measured]:
    """The points at which more answers stay than at any cheaper one, from the dearest."""
    best: list[Measured] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.agreement)):
        if not best or point.agreement > best[-1].agreement:
            best.append(point)
    return best[::-1]


@dataclass(frozen=True)
class Dial:
    """Points from full depth to the laxest; each costs less than the one before.

    Args:
        unit: of the costs: a share of full FLOPs, milliseconds, or layers.
        points: at least one.
        num_examples: of the fit.
        fitted_for: see `conditions`.
        times: the table of milliseconds behind the costs; None for others.
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
        """A dial from its file. ValueError, in one line, where that is damaged, or of a version
        before 0.4."""
        try:
            given = json_of(path)
            return cls(**given | {"points": [*map(Measured.read, given["points"])]})
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            reason = one_line(error, 120)
            raise ValueError(f"{path}: not a dial of this version ({reason}); delete it") from None

    def as_dict(self) -> dict[str, Any]:
        return vars(self)

    def down_to(self, wanted: Budget) -> list[Measured]:
        """The points from full depth to the one that is wanted. ValueError where even the laxest
        costs more than the budget."""
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
        """The dearest point within a budget; or the last before fewer answers than wanted stay."""
        return self.down_to(wanted)[-1]

    def num_agreeing(self, least: float) -> int:
        """Count the points from full depth on before the first that changes too many answers. Full
        depth always counts."""
        for num_agreeing, point in enumerate(self.points):
            if point.agreement < least - ROUNDING:
                return max(1, num_agreeing)
        return len(self.points)


def conditions(model: Path, encoder: AdaptiveEncoder, fit_reduction: bool = True) -> dict[str, Any]:
    """Return the conditions under which a dial of a model folder is valid. These are the hash of
    the weights, attention, reduction, exit rule, policies, dtype and, but for classes, the kind of
    answers; of methods from outside the package also the hash of their files. The point of the exit
    rule's knob is left out. `fit_reduction` is true where the reduction's knob is fitted too."""
    methods = [encoder.attention, encoder.reduction, encoder.exit, *encoder.policies]
    sources = sources_of(map(type, [*methods, *encoder.heads.values()]))
    specs, knob = specs_by_slot(encoder), encoder.exit.knob
    specs["exit"] = specs["exit"].without(knob and knob.name)
    return {
        "weights": sha256_of([model / "model.safetensors"]),
        **{slot: method.as_dict() for slot, method in specs.items()},
        "policy": [policy.as_dict() for policy in specs_of(encoder.policies)],
        "dtype": dtype_of(encoder),
        "fit_reduction": fit_reduction and encoder.reduction.knob is not None,
        "closes_idle_exits": True,  # dials of before did not, and are fitted anew
        **encoder.kind.spec(),
        **({"sources": sources} if sources else {}),  # else dials of before would not be found
    }


def dtype_of(encoder: AdaptiveEncoder) -> str:
    if is_int8(encoder):
        return "int8"
    kind = str(encoder.embedding.word.weight.dtype).removeprefix("torch.")
    return {"float32": "fp32", "bfloat16": "bf16"}.get(kind, kind)


def path_of(folder: Path, stem: str, holds_for: dict[str, Any], suffix: str) -> Path:
    """A file of a run's dial, one for each combination that it holds for."""
    settings = json.dumps(holds_for, sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return folder / FOLDER / f"{stem}-{digest}.{suffix}"


def find(folder: Path, unit: Unit, here: dict[str, Any]) -> Dial | None:
    """The dial kept for `here`, some of its conditions or all. ValueError, in one line, where a
    file is damaged."""
    for path in sorted((folder / FOLDER).glob("dial-*.json")):
        dial = Dial.read(path)
        fits = all(dial.fitted_for.get(key) == value for key, value in here.items())
        if fits and dial.unit == unit:
            return dial
    return None


def at_kept_point(model: Path, encoder: AdaptiveEncoder, wanted: Budget) -> AdaptiveEncoder:
    """The encoder of a run's model folder at a point of the dial that the run keeps. ValueError, in
    one line, where there is none for it."""
    run = model.resolve().parent
    if not (model / "model.safetensors").is_file():
        raise ValueError(f"set_budget: {model} is no model folder of a run, which keeps the dial")
    dial = find(run, "share", conditions(model, encoder)) if wanted.unit != "ms" else None
    if dial is None:
        what = "in milliseconds" if wanted.unit == "ms" else "for these methods"
        raise ValueError(
            f"set_budget: {run} keeps no dial {what}, got {wanted}: "
            f"`measure run={run} budgets=[0.5]` fits one in shares of full FLOPs"
        )
    return dial.at(wanted).point.on(encoder)
