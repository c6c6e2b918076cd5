"""EAT's objective (equations 1-3): cross-entropy at every exit, and distillation from a teacher."""

from collections.abc import Mapping
from typing import Literal

from eat_lightning.bounds import number_faults, raise_faults
from eat_lightning.methods.objective._losses import (
    exit_losses,
    from_teacher,
    teacher_faults,
    with_penalties,
)
from eat_lightning.model.training import Context, Loss


class Joint:
    """Sum over exits l of weight_l x CE_l, plus distill x T^2 x KL(teacher || student) (eq. 2).

    early_weight, last_weight: the paper's lambda, 0.3 and 1.0; `weights` overrides single layers.
    distill: the paper's mu, 0 = off (0.5 in the paper); distill_into: the last exit, or all of them
    with the weights of their cross-entropy. One label is a regression: squared error, for the
    teacher too.
    """

    def __init__(
        self,
        early_weight: float = 0.3,
        last_weight: float = 1.0,
        weights: Mapping[int, float] | None = None,
        distill: float = 0.0,
        teacher_temperature: float = 2.0,
        distill_into: Literal["last", "all"] = "last",
    ):
        self.early_weight, self.last_weight = early_weight, last_weight
        self.weights = weights
        self.distill, self.teacher_temperature = distill, teacher_temperature
        self.distill_into = distill_into
        arguments = dict(vars(self))
        raise_faults(self.faults(None, **arguments))
        if self.weights is not None:  # a config.json has them as text
            self.weights = {int(k): v for k, v in self.weights.items()}

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        early_weight: float = 0.3,
        last_weight: float = 1.0,
        weights: Mapping[int, float] | None = None,
        distill: float = 0.0,
        teacher_temperature: float = 2.0,
        distill_into: str = "last",
    ) -> list[str]:
        if weights is not None and not isinstance(weights, Mapping):
            return [f"objective.weights must map layers to weights, got {weights!r}"]
        faults = [
            *number_faults("objective.early_weight", [early_weight], "[0, inf)"),
            *number_faults("objective.last_weight", [last_weight], "(0, inf)"),
            *teacher_faults(distill, teacher_temperature),
            *number_faults("objective.weights", list((weights or {}).values()), "[0, inf)"),
        ]
        if distill_into not in ("last", "all"):
            faults.append(f"objective.distill_into must be last or all, got {distill_into!r}")
        if any(not str(k).isdecimal() for k in weights or {}):
            return [
                *faults,
                f"objective.weights must map layers to weights, got {dict(weights or {})}",
            ]
        outside = [k for k in weights or {} if num_layers and not 1 <= int(k) <= num_layers]
        return faults + [
            f"objective.weights must name layers in 1..{num_layers}, got {k}" for k in outside
        ]

    @property
    def wants_teacher(self) -> bool:
        return self.distill > 0

    def weight(self, layer: int, last: int) -> float:
        default = self.last_weight if layer == last else self.early_weight
        return (self.weights or {}).get(layer, default)

    def __call__(self, context: Context) -> Loss:
        guesses, last = context.guesses, context.last
        parts = exit_losses(context)
        total = sum(self.weight(k, last) * parts[f"exit_{k}"] for k in guesses)
        if self.wants_teacher:
            # A stage may show early exits alone: then there is no last one to distil into.
            into = guesses if self.distill_into == "all" else guesses.keys() & {last}
            shares = {k: 1.0 if k == last else self.weight(k, last) for k in into}
            taught = from_teacher(context, shares, self.teacher_temperature, parts)
            total = total + self.distill * taught
        return with_penalties(total, parts, context)
