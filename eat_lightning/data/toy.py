"""Examples from a grammar for any task, without network or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eat_lightning.data import grammar
from eat_lightning.data.calibration import PARTS
from eat_lightning.data.module import TextData
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split
from eat_lightning.data.task import Task
from eat_lightning.validation import raise_faults

DRAWN: dict[tuple[str, int, str], list[grammar.Example]] = {}  # those made so far


@dataclass(eq=False, repr=False)
class ToyData(TextData):
    """Data from `grammar`, with the interface of `data=glue`. Each split also has `difficulty`, 0
    to 4.

    Args:
        calibration: number of examples in the three held-out parts together.
        grammar_seed: chooses the examples instead of `seed`, so that runs with several seeds are
            evaluated on the same ones.
    """

    num_train: int = 4000
    num_validation: int = 500
    calibration: int = 600
    grammar_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        raise_faults(grammar.faults(self.task))

    @classmethod
    def faults(cls, task: Task, **arguments: Any) -> list[str]:
        return [*super().faults(task, **arguments), *grammar.faults(task)]

    @property
    def names(self) -> list[str]:
        return ["train", *PARTS, "validation"]

    def examples(self, name: str) -> list[grammar.Example]:
        sizes = {part: int(self.calibration * share) for part, share in PARTS.items()}
        sizes |= {"train": self.num_train, "validation": self.num_validation}
        made = DRAWN.setdefault((repr(self.task), self.grammar_seed, name), [])
        for number in range(len(made), sizes[name]):
            made.append(grammar.make(self.task, self.grammar_seed, name, number))
        return made[: sizes[name]]

    def source(self, name: str) -> Source:
        examples = self.examples(name)
        texts = [list(column) for column in zip(*(x.texts for x in examples), strict=True)]
        labels = np.array([x.label for x in examples], self.task.kind.label_dtype)
        return Source(texts, labels)

    def split(self, name: str) -> Split:
        split = super().split(name)
        if split.difficulty is None and name in self.names:
            split.difficulty = np.array([x.difficulty for x in self.examples(name)])
        return split
