"""Settings of `drift`, and of a monitor wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from eat_lightning.config import Plan, at_least, whole
from eat_lightning.predict.plan import DataPlan, ModelPlan, export_faults


class MonitorPlan(Plan):
    """The arguments of a `Monitor`."""

    run_length: Annotated[float, at_least(10)]
    window: Annotated[int, whole(50)]
    calm: Annotated[int, whole(0)]
    psi: Annotated[float, at_least(0)]


class DriftPlan(ModelPlan):
    """onnx: the export that stands in the run's place. stream None: the reference is made."""

    onnx: str | None
    stream: Any
    columns: list[str] | None
    monitor: MonitorPlan
    seed: int
    log: str | None
    log_text: bool
    data: DataPlan

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if self.onnx:
            yield from export_faults(self, "onnx=...")
