"""Settings of `score`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from eat_lightning.engines.plan import AnswerSettings
from eat_lightning.validation import Count

Format = Literal["parquet", "csv", "jsonl", "text"]


class ScoreSettings(AnswerSettings):
    """input: files, folders and patterns. text, keep: names of columns; None: those that the task
    names, and all. workers: None is a process for each core that this one may use. pool: None is
    wherever the backend has one. window: rows that are sorted by length together."""

    input: str | list[str] | None
    output: str | None
    format: Format | None
    text: str | list[str] | None
    keep: list[str] | None
    prefix: str
    workers: Count | None
    tokens: Annotated[int, Field(ge=16)]
    pool: bool | None
    window: Count
    shard_mb: Annotated[float, Field(gt=0, le=100000)]
    max_bytes: Count

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if not self.input:
            yield "input must name files or folders: input=corpus/"
        if not self.output:
            yield "output must name a folder: output=scored/"
        if self.threads != 1:
            yield f"threads must be 1, got {self.threads}: more cores are more workers"

    @property
    def inputs(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else list(self.input or [])

    @property
    def text_columns(self) -> list[str] | None:
        return [self.text] if isinstance(self.text, str) else self.text


def cores() -> list[int]:
    """The cores that this process may use; where the system does not say which, as many as there
    are."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
