"""Settings of `score`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from eat_lightning.bundle.plan import AnswerSettings
from eat_lightning.machine import quota
from eat_lightning.monitor.monitor import WatchSettings
from eat_lightning.validation import Count

Format = Literal["parquet", "csv", "jsonl", "text"]


class ScorerSettings(AnswerSettings):
    """Settings of a model that scores tables, on one machine or on many.

    Args:
        text: columns with the texts; None: those of the task, or text (and text_pair).
        prefix: of the names of answer columns.
        tokens: maximum tokens of a batch.
        pool: remaining examples of many batches continue together; None: wherever supported.
    """

    text: str | list[str] | None
    prefix: str
    tokens: Annotated[int, Field(ge=16)]
    pool: bool | None

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if self.threads != 1:
            yield f"threads must be 1, got {self.threads}: use more cores with workers="

    @property
    def text_columns(self) -> list[str] | None:
        return [self.text] if isinstance(self.text, str) else self.text


class ScoreSettings(ScorerSettings):
    """Settings of the command.

    Args:
        input: files, folders and patterns.
        keep: columns to copy to the output; None: all.
        workers: number of processes; None: one for each available core.
        window: rows that one worker answers together, sorted by length.
        shard_rows: input rows per output file.
        drift: how its answers are watched.
    """

    input: str | list[str] | None
    output: str | None
    format: Format | None
    keep: list[str] | None
    workers: Count | None
    window: Count
    shard_rows: Count
    drift: WatchSettings

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if not self.input:
            yield "input must name files or folders: input=corpus/"
        if not self.output:
            yield "output must name a folder: output=scored/"

    @property
    def inputs(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else list(self.input or [])


def cores() -> list[int]:
    """Return the cores available to this process, or all where the system does not say; no more
    than a container's quota pays for."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux alone
    found = sorted(os.sched_getaffinity(0)) if has_affinity else list(range(os.cpu_count() or 1))
    return found[: quota()]
