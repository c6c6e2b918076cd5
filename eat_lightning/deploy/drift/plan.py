"""Settings of `drift`, and of a monitor wherever it stands."""

from __future__ import annotations

from typing import Annotated, Any

from eat_lightning.config import DataPlan, Plan, at_least, whole
from eat_lightning.engines.plan import ModelPlan


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
