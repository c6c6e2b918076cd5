"""Settings of `drift`, and of a monitor wherever it stands."""

from __future__ import annotations

from typing import Annotated, Any

from eat_lightning.config import DataSettings, Settings
from eat_lightning.engines.plan import ModelSettings
from eat_lightning.runs.plan import LongSettings
from eat_lightning.validation import Whole, Within


class MonitorSettings(Settings):
    """The arguments of a `Monitor`."""

    run_length: Annotated[float, Within("[10, inf)")]
    window: Annotated[int, Whole(50)]
    calm: Annotated[int, Whole(0)]
    psi: Annotated[float, Within("[0, inf)")]


class DriftSettings(LongSettings, ModelSettings):
    """onnx: the export that stands in the run's place. stream None: the reference is made."""

    onnx: str | None
    stream: Any
    columns: list[str] | None
    monitor: MonitorSettings
    log: str | None
    log_text: bool
    data: DataSettings
