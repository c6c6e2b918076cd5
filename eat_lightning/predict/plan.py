"""Settings of `predict`, and those that every command with a model that answers can be given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from eat_lightning.config import Plan, RunFolder, whole


class RunPlan(Plan):
    """policy: a node for each policy."""

    run: RunFolder
    batch: Annotated[int, whole(1)]
    threads: Annotated[int | None, whole(1)]
    dtype: Literal["fp32", "bf16", "int8"]
    prepack: bool | None
    policy: dict[str, Any]

    def rules(self) -> Iterator[str]:
        from eat_lightning.infer.precision import prepack_faults

        yield from prepack_faults(self.prepack, self.dtype)


class DataPlan(Plan):
    """dir: None is where the run had it."""

    dir: str | None


class ModelPlan(RunPlan):
    """exit: settings of the run's own rule, or of the one that it names. head: where the yaml of a
    named rule looks."""

    certificate: Any
    exit: dict[str, Any]
    head: dict[str, Any]


def export_faults(plan: Any, asked_by: str) -> list[str]:
    """What an export cannot be given, since it is in its graphs. plan: with `exit`, `dtype`,
    `prepack` and, if there is such an option, `pool`."""
    asked = {
        "exit": any(value is not None for value in plan.exit.values()),
        "dtype": plan.dtype != "fp32",
        "prepack": plan.prepack is not None,
        "pool": getattr(plan, "pool", False),
    }
    where = "the export has its exits in its graphs"
    return [f"{key} is not an option of {asked_by}: {where}" for key in asked if asked[key]]


class PredictPlan(ModelPlan):
    """text: one example, whose way is shown; else lines of standard input are answered."""

    backend: Literal["torch", "onnx"]
    pool: bool
    text: str | list[str] | None

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if self.backend == "onnx":
            yield from export_faults(self, "backend=onnx")
