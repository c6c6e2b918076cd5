"""Examples from a grammar, in the shape of any task: no network, no files, endless."""

from __future__ import annotations

from typing import Any

import numpy as np

from eat_lightning.bounds import raise_faults
from eat_lightning.data import grammar
from eat_lightning.data.calibration import PARTS
from eat_lightning.data.module import TextData
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import Tokenizer


class ToyData(TextData):
    """`data=glue`'s interface over `grammar`; each split also has `difficulty`, 0 to 4.

    calibration: examples of the three parts together. `grammar_seed` and not `seed` chooses the
    examples, so that runs of several seeds are judged on the same ones.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Tokenizer,
        num_train: int = 4000,
        num_validation: int = 500,
        calibration: int = 600,
        grammar_seed: int = 0,
        batch_size: int = 32,
        tokens_per_batch: int | None = None,
        eval_batch_size: int = 32,
        max_length: int | None = None,
        cache_dir: str | None = None,
        seed: int = 0,
    ):
        args = batch_size, tokens_per_batch, eval_batch_size, max_length, cache_dir, seed
        super().__init__(task, tokenizer, *args)
        raise_faults(grammar.faults(task))
        raise_faults(self.size_faults(num_train, num_validation, calibration))
        self.sizes = {name: int(calibration * share) for name, share in PARTS.items()}
        self.sizes |= {"train": num_train, "validation": num_validation}
        self.grammar_seed = grammar_seed
        self.drawn: dict[str, list[grammar.Example]] = {}

    @classmethod
    def faults(
        cls,
        task: Task,
        num_train: int = 4000,
        num_validation: int = 500,
        calibration: int = 600,
        batch_size: int = 32,
        tokens_per_batch: int | None = None,
        eval_batch_size: int = 32,
        max_length: int | None = None,
        **_: Any,
    ) -> list[str]:
        args = batch_size, tokens_per_batch, eval_batch_size, max_length
        sizes = num_train, num_validation, calibration
        return [*cls.value_faults(*args), *cls.size_faults(*sizes), *grammar.faults(task)]

    @classmethod
    def size_faults(cls, num_train: int, num_validation: int, calibration: int) -> list[str]:
        sizes = {"num_train": num_train, "num_validation": num_validation}
        faults = cls.value_faults(**sizes, calibration=calibration)
        if not faults and calibration < 4:
            faults.append(f"data.calibration must be at least 4, got {calibration}")
        return faults

    @property
    def names(self) -> list[str]:
        return ["train", *PARTS, "validation"]

    def examples(self, name: str) -> list[grammar.Example]:
        if name not in self.drawn:
            numbers = range(self.sizes[name])
            made = (grammar.make(self.task, self.grammar_seed, name, i) for i in numbers)
            self.drawn[name] = list(made)
        return self.drawn[name]

    def source(self, name: str) -> Source:
        examples = self.examples(name)
        texts = [list(column) for column in zip(*(x.texts for x in examples), strict=True)]
        dtype = np.float32 if self.task.regression else np.int64
        return Source(texts, np.array([x.label for x in examples], dtype))

    def split(self, name: str) -> Split:
        split = super().split(name)
        if split.difficulty is None:
            split.difficulty = np.array([x.difficulty for x in self.examples(name)])
        return split
