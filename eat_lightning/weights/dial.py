"""The dial of a run: all operating points of its exit rule, in order, kept beside the model folder.

`<run>/dial/dial-<hash>.json` holds the points with cost, accuracy and agreement on the calibration
cut, and all that they were fitted for. A budget and a share of unchanged answers both look up in
it. `runs.budgets` fits and writes it; here it is found and put on an encoder, as the Hugging Face
class does too.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pydantic.dataclasses
from pydantic import ConfigDict

from eat_lightning.errors import one_line
from eat_lightning.files import sha256_of
from eat_lightning.model.contracts import at_point
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import is_int8
from eat_lightning.model.method import faults_of
from eat_lightning.model.policies import specs_of
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.untrusted import json_of
from eat_lightning.user_modules import sources_of
from eat_lightning.validation import raise_faults

FOLDER = "dial"
ROUNDING = 1e-9  # of a mean of shares
Point = int | float | list[int | float]
Unit = Literal["share", "ms"]


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


STRICT = ConfigDict(strict=True, extra="forbid")


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class DialPoint:
    """A point of the dial, and the means of the examples of the fit there.

    Args:
        exit: the exit rule's knob, one value for each exit, or one for all.
        reduction: the reduction's knob; None where it stays.
        cost: in the dial's unit.
        accuracy: share of right answers.
        agreement: share of answers that stay what full depth says.
    """

    exit: Point
    reduction: Point | None
    cost: float
    accuracy: float
    agreement: float

    def on(self, encoder: AdaptiveEncoder) -> AdaptiveEncoder:
        """A twin with its knobs at this point, which shares its weights. ValueError where the point
        does not fit its methods."""
        rule = at_point(encoder.exit, self.exit)
        raise_faults(faults_of(rule, encoder.shape.num_layers))
        reduction = encoder.reduction
        if self.reduction is not None:
            reduction = at_point(reduction, self.reduction)
        return encoder.replacing(exit=rule, reduction=reduction)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Dial:
    """Points from full depth to the laxest; each costs less than the one before.

    Args:
        unit: of the costs.
        points: at least one.
        num_examples: of the fit.
        fitted_for: see `conditions`.
        times: the table of milliseconds behind the costs; None for shares.
    """

    unit: Unit
    points: list[DialPoint]
    num_examples: int
    fitted_for: dict[str, Any]
    times: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points must be at least one")
        if not all(after.cost < point.cost for point, after in pairwise(self.points)):
            raise ValueError("points must cost less and less")

    def down_to(self, wanted: Budget) -> list[DialPoint]:
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

    def at(self, wanted: Budget) -> DialPoint:
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
        dial = read(path)
        fits = all(dial.fitted_for.get(key) == value for key, value in here.items())
        if fits and dial.unit == unit:
            return dial
    return None


def read(path: Path) -> Dial:
    """A dial from its file. ValueError, in one line, where that is damaged."""
    try:
        given = json_of(path)
        return Dial(**given | {"points": [DialPoint(**point) for point in given["points"]]})
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ValueError(f"{path}: not a dial ({one_line(error, 120)})") from None


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
    return dial.at(wanted).on(encoder)
