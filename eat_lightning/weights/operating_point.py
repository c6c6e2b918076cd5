"""Operating points fitted for a budget, as they are kept beside the model folder of a run.

`<run>/budgets/<budget>-<hash>.json`: where the knobs of exit rule and reduction stand, and what
that was fitted for (hashes of weights and settings, the rule, the budget). `runs.budgets` fits and
writes them; here they are found and put on an encoder, as the Hugging Face class does too.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic.dataclasses
from pydantic import ConfigDict

from eat_lightning.files import sha256_of
from eat_lightning.model.contracts import turned
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import is_int8
from eat_lightning.model.method import faults_of
from eat_lightning.model.policies import specs_of
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.validation import raise_faults
from eat_lightning.weights.untrusted import json_of, one_line

FOLDER = "budgets"
Point = int | float | list[int | float]


@dataclass(frozen=True)
class Budget:
    """What an example may cost on average: a share of full FLOPs, or milliseconds at batch 1."""

    amount: float
    unit: Literal["share", "ms"] = "share"

    @classmethod
    def parse(cls, value: Any) -> Budget:
        """0.5 or "12ms"; ValueError names the bounds."""
        if isinstance(value, Budget):
            return value
        unit = "ms" if str(value).endswith("ms") else "share"
        try:
            amount = math.nan if isinstance(value, bool) else float(str(value).removesuffix("ms"))
        except ValueError:
            amount = math.nan
        if not 0 < amount <= (1 if unit == "share" else 1e6):
            bounds = "in (0, 1], a share of full FLOPs, or a time such as 12ms"
            raise ValueError(f"must be {bounds}, got {value}")
        return cls(amount, unit)

    def __str__(self) -> str:
        return f"{self.amount:g}" + ("ms" if self.unit == "ms" else "")


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class OperatingPoint:
    """exit: of the rule's knob, one for each exit. reduction: of the reduction's knob, None where
    it stays as it is. cost (in the budget's unit), accuracy, num_examples: of the fit. held_out:
    accuracy on folds that it left out, less what exceeded the budget there. fitted_for: see
    `conditions`. times: the table of milliseconds that it stands on."""

    budget: str
    exit: Point
    reduction: Point | None
    cost: float
    accuracy: float
    held_out: float
    num_examples: int
    fitted_for: dict[str, Any]
    times: dict[str, Any] | None = None

    def on(self, encoder: AdaptiveEncoder) -> AdaptiveEncoder:
        """A twin with its knobs at this point, which shares its weights. ValueError where the point
        does not fit its methods."""
        rule = turned(encoder.exit, self.exit)
        raise_faults(faults_of(rule, encoder.shape.num_layers))
        reduction = encoder.reduction
        if self.reduction is not None:
            reduction = turned(reduction, self.reduction)
        return encoder.replacing(exit=rule, reduction=reduction)


def conditions(model: Path, encoder: AdaptiveEncoder, fit_reduction: bool = True) -> dict[str, Any]:
    """What a fit for a model folder holds for, as far as folder and encoder say it: the weights by
    hash, attention, reduction, exit rule (without the point of its knob), policies, dtype, and
    whether the reduction's knob is fitted too (else it stays)."""
    specs, knob = specs_by_slot(encoder), encoder.exit.knob
    rule = {key: x for key, x in specs["exit"].items() if knob is None or key != knob.name}
    return {
        "weights": sha256_of([model / "model.safetensors"]),
        **specs | {"exit": rule},
        "policy": specs_of(encoder.policies),
        "dtype": dtype_of(encoder),
        "fit_reduction": fit_reduction and encoder.reduction.knob is not None,
    }


def dtype_of(encoder: AdaptiveEncoder) -> str:
    if is_int8(encoder):
        return "int8"
    kind = str(encoder.embedding.word.weight.dtype).removeprefix("torch.")
    return {"float32": "fp32", "bfloat16": "bf16"}.get(kind, kind)


def path_of(folder: Path, point: OperatingPoint) -> Path:
    """Where a run's folder keeps it: one file for each budget and whatever else it holds for."""
    settings = json.dumps(point.fitted_for, sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return folder / FOLDER / f"{point.budget}-{digest}.json"


def find(folder: Path, budget: Budget, here: dict[str, Any]) -> OperatingPoint | None:
    """The point kept for a budget that holds for `here`, some of its conditions or all. ValueError
    where a file is damaged."""
    for path in sorted((folder / FOLDER).glob(f"{budget}-*.json")):
        try:
            point = OperatingPoint(**json_of(path))
        except (ValueError, TypeError, OSError) as error:
            raise ValueError(f"{path}: not a fitted budget ({one_line(error, 120)})") from None
        if all(point.fitted_for.get(key) == value for key, value in here.items()):
            return point
    return None


def at_kept_budget(model: Path, encoder: AdaptiveEncoder, budget: Any) -> AdaptiveEncoder:
    """The encoder of a run's model folder at the point that the run keeps for a share of full
    FLOPs. ValueError, in one line, where there is none for it."""
    wanted, run = Budget.parse(budget), model.resolve().parent
    if not (model / "model.safetensors").is_file():
        raise ValueError(f"set_budget: {model} is no model folder of a run, which keeps the points")
    point = find(run, wanted, conditions(model, encoder)) if wanted.unit == "share" else None
    if point is None:
        kept = {path.name.rpartition("-")[0] for path in (run / FOLDER).glob("*.json")}
        raise ValueError(
            f"set_budget: {run} keeps points for {', '.join(sorted(kept)) or 'no budget'}, and "
            f"none for {wanted} with these methods: measure run={run} budgets=[{wanted}] fits it"
        )
    return point.on(encoder)
