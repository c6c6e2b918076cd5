"""The settings of a load, typed and bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, NonNegativeInt

from eat_lightning.config import DataSettings, RunFolder, Settings
from eat_lightning.deploy.serve.plan import Mode, absent_packages
from eat_lightning.validation import Count

Seconds = Annotated[float, Field(gt=0, le=3600000)]
CAN_PIN = hasattr(os, "sched_setaffinity")  # Linux alone


class QueueSettings(Settings):
    inline: Count
    triage: Count


class LoadSettings(Settings):
    """serve: more overrides of `serve`. server_core, load_core: None: any."""

    run: RunFolder
    certificate: str | None
    onnx: str | None
    onnx_static: str | None
    modes: list[Mode]
    levels: list[Annotated[float, Field(gt=0, le=10)]]
    seconds: Seconds
    capacity_s: Seconds
    warm_s: Seconds
    rest_s: Annotated[float, Field(ge=0, le=60)]
    batch: Annotated[int, Field(ge=16)]
    wait_ms: Annotated[float, Field(ge=0, le=10000)]
    queue: QueueSettings
    deadline_ms: Seconds
    serve: list[str]
    server_core: int | None
    load_core: int | None
    seed: NonNegativeInt
    split: str
    data: DataSettings
    to: str
    force: bool

    def rules(self) -> Iterator[str]:
        if not self.modes:
            yield "modes must be among inline, triage, got []"
        there = sorted(os.sched_getaffinity(0)) if CAN_PIN else []
        known = f"one of {there}, or null" if CAN_PIN else "null, since this system pins nothing"
        for key in ("server_core", "load_core"):
            if (core := getattr(self, key)) is not None and core not in there:
                yield f"{key} must be {known}, got {core}"
        if self.server_core is not None and self.server_core == self.load_core:
            yield f"load_core must be another than server_core={self.server_core}"
        yield from absent_packages("load")


def pin(core: int | None) -> None:
    """Keep this process on a core, which the plan has found there; None: on any."""
    if core is not None:
        os.sched_setaffinity(0, {core})
