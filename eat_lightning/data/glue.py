"""GLUE, and data of the same form, from a folder of files or from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.data.calibration import PARTS, cut
from eat_lightning.data.module import TextData
from eat_lightning.data.source import Source, check, kept_by_source, present, read, read_file
from eat_lightning.data.task import Task
from eat_lightning.errors import ConfigError


@dataclass(eq=False, repr=False)
class GlueData(TextData):
    """Data of a task from files or from the hub.

    Args:
        dir: folder with `<task>/train.parquet` and `<task>/validation.parquet`, or .csv or .jsonl
            files of these names; None: the hub.
        calibration: number of examples to hold out (None: see `calibration.cut`). They are chosen
            by `cut_seed`, not by `seed`, so that runs with several seeds, and a teacher and its
            student, share one split.
        limit_train: number of random examples from the remaining ones, the same for every `seed`.
        drop_sources: leave out rows of these sources, listed in train_sources.parquet (MNLI:
            llmsknow).
        extra: further training sets with the task's columns and labels, `dir/<name>/train.parquet`
            (MNLI: lingnli, snli). Rows in a held-out group are dropped from them too.
    """

    dir: str | None = None
    calibration: int | None = None
    cut_seed: int = 0
    limit_train: int | None = None
    drop_sources: Sequence[str] = ()
    extra: Sequence[str] = ()

    @classmethod
    def faults(cls, task: Task, dir: str | None = None, **arguments: Any) -> list[str]:
        """List errors in arguments, schemas and label columns."""
        extra, dropped = arguments.get("extra", ()), arguments.get("drop_sources", ())
        return [*super().faults(task, **arguments), *check(task, dir, extra, dropped)]

    def source(self, name: str) -> Source:
        if name == "train" or name in PARTS:
            return self.parts[name]
        return read(self.task, self.dir, name)

    @cached_property
    def parts(self) -> dict[str, Source]:
        source = read(self.task, self.dir, "train")
        if self.drop_sources:
            kept = kept_by_source(self.task, self.dir, self.drop_sources)
            source = source.take(np.flatnonzero(kept))
        num_eligible = len(source)
        for name in self.extra:
            if self.dir is None:
                raise ConfigError(f"data.extra={name} needs data.dir")
            extra = present(Path(self.dir).expanduser() / name / "train")
            source = source + read_file(self.task, extra)
        rows = cut(self.task, source.texts, self.calibration, self.cut_seed, num_eligible)
        if self.limit_train is not None:
            order = np.random.default_rng(self.cut_seed).permutation(rows["train"])
            rows["train"] = np.sort(order[: self.limit_train])
        return {name: source.take(chosen) for name, chosen in rows.items()}
