"""Base class of the data modules: splits by name, and batches that any process can compute."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from lightning import LightningDataModule
from pydantic import Field

from eat_lightning.data.batching import Loader, Order, Place, shares, sorted_batches
from eat_lightning.data.calibration import PARTS
from eat_lightning.data.source import Source, unlabelled
from eat_lightning.data.split import Split, in_windows, make_split, reader_of
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import Tokenizer
from eat_lightning.errors import Faults
from eat_lightning.long_texts import MODES, LongTexts, Mode
from eat_lightning.validation import Count, raise_faults, value_faults

COUNTS: dict[str, Any] = {  # arguments that count something; None is always allowed
    "batch_size": Count,
    "tokens_per_batch": Annotated[int, Field(ge=8)],
    "eval_batch_size": Count,
    "max_length": Annotated[int, Field(ge=8)],
    "num_train": Count,
    "num_validation": Count,
    "calibration": Annotated[int, Field(ge=4)],  # for none of its three parts to be empty
    "limit_train": Count,
}


def count_faults(arguments: Mapping[str, Any]) -> list[str]:
    """List arguments of a data module that are out of range."""
    given = {name: arguments[name] for name in COUNTS if arguments.get(name) is not None}
    if (long := arguments.get("long", "cut")) not in MODES:
        return [f"data.long must be one of {', '.join(MODES)}, got {long!r:.60}"]
    return [f for k, value in given.items() for f in value_faults(COUNTS[k], f"data.{k}", value)]


@dataclass(eq=False, repr=False)
class TextData(LightningDataModule, ABC):
    """Splits of a task, each created at its first use.

    They are `train`; `select`, `temperature` and `certificate` (the calibration split);
    `validation`, for reporting; and any others that the task has.

    Args:
        texts: a file of unlabelled texts, available as the split `texts`.
        batch_size: number of examples over all processes.
        tokens_per_batch: a limit on tokens without padding, instead of `batch_size`.
        max_length: None: the task's.
        cache_dir: None: the user's cache.
        long: longer texts are truncated or rejected, or training texts are split into windows that
            are examples with the text's label, while those of other splits are truncated.
    """

    task: Task
    tokenizer: Tokenizer
    batch_size: int = 32
    tokens_per_batch: int | None = None
    eval_batch_size: int = 32
    max_length: int = None  # type: ignore[assignment]
    cache_dir: Path = None  # type: ignore[assignment]
    texts: str | None = None
    long: Mode = "cut"
    seed: int = 0
    resume: Place = field(default_factory=Place, init=False)
    made: dict[str, Split] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        super().__init__()
        raise_faults(count_faults(vars(self)))
        limit = self.task.max_length if self.max_length is None else self.max_length
        self.max_length = min(limit, self.tokenizer.model_max_length)  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.cache_dir = Path(self.cache_dir or Path(home, "eat_lightning")).expanduser()

    @classmethod
    def faults(cls, task: Task, **arguments: Any) -> list[str]:
        """List errors in arguments and data that can be found without loading the data."""
        faults = Faults(count_faults(arguments))
        if (texts := arguments.get("texts")) is not None:
            with faults.gathered():
                unlabelled(task, texts)
        return faults

    @property
    def names(self) -> list[str]:
        return ["train", *PARTS, *self.task.validation]

    @abstractmethod
    def source(self, name: str) -> Source:
        """Return the texts and labels of a split."""

    def split(self, name: str) -> Split:
        if name not in self.made:
            alone = name == "texts" and self.texts is not None
            source = unlabelled(self.task, self.texts) if alone else self.source(name)
            made = make_split(name, source, self.tokenizer, self.max_length, self.cache_dir)
            self.made[name] = self.with_long_texts(made)
        return self.made[name]

    def with_long_texts(self, split: Split) -> Split:
        """Apply `long` to the split. Prints a line on standard error where texts may be
        truncated.
        """
        full = int((split.lengths >= self.max_length).sum())
        if not full:
            return split
        if self.long == "refuse" or (self.long == "windows" and split.name == "train"):
            reader = reader_of(self.tokenizer, self.max_length, LongTexts(self.long))
            return in_windows(split, reader)[0]
        which = f"{full} of {len(split)} texts have {self.max_length} tokens or more"
        print(f"{split.name}: {which} and are cut there (data.long=cut)", file=sys.stderr)
        return split

    def train_dataloader(self) -> Loader:
        epoch = self.trainer.current_epoch if self.trainer else self.resume.epoch
        order = self.order(epoch, *self.place())
        return Loader(self.split("train"), batch_size=None, sampler=order)

    def order(self, epoch: int, rank: int = 0, world_size: int = 1) -> Order:
        """Return the batches of an epoch (from 0), and a process's part of them."""
        size, place = (self.batch_size, self.tokens_per_batch), (rank, world_size)
        return Order(self.split("train").lengths, self.seed, *size, *place, epoch, self.resume)

    def rows_drawn(self, steps: int, epochs: int) -> np.ndarray:
        """Return the training examples seen in `steps` steps (-1: all of the epochs), in ascending
        order.
        """
        if steps == -1:
            return np.arange(len(self.split("train")))
        every = chain.from_iterable(self.order(epoch).batches() for epoch in range(epochs))
        return np.unique(np.concatenate([*islice(every, steps)]))

    def loader(self, name: str) -> Loader:
        """Iterate over a split once, longest first; `index_B` of a batch has the rows."""
        split, (rank, world_size) = self.split(name), self.place()
        batches = sorted_batches(split.lengths, self.eval_batch_size)
        dealt = shares(batches, split.lengths, rank, world_size)
        return Loader(split, batch_size=None, sampler=[*dealt])

    def val_dataloader(self) -> Loader:
        return self.loader("select")

    def test_dataloader(self) -> Loader:
        return self.loader("validation")

    def place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
