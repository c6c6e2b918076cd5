"""Settings of `drift`, and of a monitor wherever it stands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt

from eat_lightning.config import DataSettings, Settings
from eat_lightning.engines.plan import ModelSettings
from eat_lightning.runs.plan import LongSettings
from eat_lightning.validation import NotNegative


class MonitorSettings(Settings):
    """The arguments of a `Monitor`."""

    run_length: Annotated[float, Field(ge=10)]
    window: Annotated[int, Field(ge=50)]
    calm: NonNegativeInt
    psi: NotNegative


class DriftSettings(LongSettings, ModelSettings):
    """onnx: the export that stands in the run's place. stream None: the reference is made."""

    onnx: str | None
    stream: Any
    columns: list[str] | None
    monitor: MonitorSettings
    log: str | None
    log_text: bool
    data: DataSettings
