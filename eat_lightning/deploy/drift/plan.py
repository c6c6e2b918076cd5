"""Settings of `drift`."""

from __future__ import annotations

from typing import Any, Literal

from eat_lightning.bundle.bundle import is_adapted
from eat_lightning.bundle.plan import ModelSettings
from eat_lightning.config import DataSettings
from eat_lightning.long_texts import LongTexts
from eat_lightning.monitor.monitor import MonitorSettings
from eat_lightning.runs.plan import WindowSettings


class DriftSettings(ModelSettings):
    """onnx: the export that stands in the run's place. stream None: the reference is made. long
    None: cut, as in training, or as `adapt` certified it."""

    onnx: str | None
    stream: Any
    columns: list[str] | None
    monitor: MonitorSettings
    log: str | None
    log_text: bool
    data: DataSettings
    long: Literal["cut", "windows"] | None
    windows: WindowSettings

    @property
    def long_texts(self) -> LongTexts | None:
        if self.long is None and is_adapted(self.run):
            return None
        return LongTexts(self.long or "cut", **dict(self.windows))
