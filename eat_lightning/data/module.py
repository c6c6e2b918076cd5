"""What every data module of ours does: splits by name, batches that any process can work out."""

from __future__ import annotations

from pathlib import Path

from lightning import LightningDataModule

from eat_lightning.bounds import raise_faults
from eat_lightning.data.batching import Loader, Order, Ready, shares, sorted_batches
from eat_lightning.data.calibration import PARTS
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, default_cache, make_split
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import Tokenizer


class TextData(LightningDataModule):
    """Splits: `train`; `select`, `temperature`, `certificate` (the calibration cut); `validation`,
    which is for reporting, and others that the task has. Each is made when first asked for.

    `batch_size` counts the examples of all processes together. `max_length` None is the task's.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Tokenizer,
        batch_size: int = 32,
        tokens_per_batch: int | None = None,
        eval_batch_size: int = 32,
        max_length: int | None = None,
        cache_dir: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        limit = task.max_length if max_length is None else max_length
        self.task, self.tokenizer = task, tokenizer
        self.max_length = min(limit, tokenizer.model_max_length)
        self.batch_size, self.tokens_per_batch = batch_size, tokens_per_batch
        self.eval_batch_size, self.seed = eval_batch_size, seed
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else default_cache()
        self.resume = (0, 0)
        self.made: dict[str, Split] = {}
        raise_faults(self.value_faults(batch_size, tokens_per_batch, eval_batch_size, max_length))

    @staticmethod
    def value_faults(
        batch_size: int = 32,
        tokens_per_batch: int | None = None,
        eval_batch_size: int = 32,
        max_length: int | None = None,
        **sizes: int | None,
    ) -> list[str]:
        least = {
            "batch_size": (batch_size, 1),
            "tokens_per_batch": (tokens_per_batch, 8),
            "eval_batch_size": (eval_batch_size, 1),
            "max_length": (max_length, 8),
            **{name: (value, 1) for name, value in sizes.items()},
        }
        return [
            fault
            for name, (value, low) in least.items()
            if value is not None
            for fault in count_faults(f"data.{name}", value, low)
        ]

    @property
    def names(self) -> list[str]:
        return ["train", *PARTS, *self.task.validation]

    def source(self, name: str) -> Source:
        raise NotImplementedError

    def split(self, name: str) -> Split:
        if name not in self.made:
            source = self.source(name)
            args = self.tokenizer, self.max_length, self.cache_dir
            self.made[name] = make_split(name, source, *args)
        return self.made[name]

    def resume_at(self, epoch: int, batch: int) -> None:
        """Training goes on in `epoch` (from 0) after `batch` batches of it."""
        self.resume = (epoch, batch)

    def train_dataloader(self) -> Loader:
        split = self.split("train")
        epoch = self.trainer.current_epoch if self.trainer else self.resume[0]
        order = Order(
            split.lengths,
            self.seed,
            self.batch_size,
            self.tokens_per_batch,
            *self.place(),
            epoch=epoch,
            resume=self.resume,
        )
        return Loader(Ready(split), batch_size=None, sampler=order)

    def loader(self, name: str, batch_size: int | None = None) -> Loader:
        """A split once, longest first; `index_B` of a batch tells the rows."""
        split, (rank, world_size) = self.split(name), self.place()
        batches = sorted_batches(split.lengths, batch_size or self.eval_batch_size, world_size)
        return Loader(Ready(split), batch_size=None, sampler=[*shares(batches, rank, world_size)])

    def val_dataloader(self) -> Loader:
        return self.loader("select")

    def test_dataloader(self) -> Loader:
        return self.loader("validation")

    def place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def count_faults(key: str, value: object, low: int) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, int):
        return [f"{key} must be a whole number, got {value!r}"]
    return [] if value >= low else [f"{key} must be at least {low}, got {value}"]
