"""Which examples are raced over: examples of a task in batches, as they come or by length.

With random weights only lengths count, and who leaves. Both come from a histogram of dev examples
(`lengths.json` beside this file, made by experiments/bench/lengths.py). Shapes: B examples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from eat_lightning.errors import ConfigError
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from eat_lightning.record.timing import chunks

ORDERS = ("as they come", "sorted")
SINGLES = 24  # examples at batch 1, where nothing is said
MANY = 64  # and in batches: two of them at least, until there are so many
NEAR = 0.15  # share of the wanted length by which the mean of the examples may miss it
HISTOGRAM = Path(__file__).with_name("lengths.json")


@dataclass(frozen=True)
class Examples:
    """A batch, and which of its examples leave where random weights would not say."""

    batch: Batch
    easy_B: Bool[Tensor, " b"]


@dataclass
class Workload:
    """Examples of one task at one batch size in one order."""

    task: str
    batch: int
    order: str
    batches: list[Examples]

    @property
    def lengths(self) -> list[np.ndarray]:
        return [given.batch.lengths_B.numpy() for given in self.batches]

    @property
    def num_examples(self) -> int:
        return sum(given.batch.size for given in self.batches)

    @property
    def padding_factor(self) -> float:
        padded = sum(int(lengths.max()) * len(lengths) for lengths in self.lengths)
        return padded / sum(int(lengths.sum()) for lengths in self.lengths)

    @property
    def name(self) -> str:
        return f"{self.task}, batch {self.batch}, {self.order}"


Maker = Callable[[str, list[np.ndarray]], list[Examples]]  # task, rows of each batch


def workloads(
    lengths: Mapping[str, np.ndarray],
    batches: Sequence[int],
    examples: int | None,
    seed: int,
    make: Maker,
) -> Iterator[Workload]:
    """All tasks at one batch size, then at the next. examples: of each, a batch at least."""
    for batch in batches:
        usual = SINGLES if batch == 1 else max(batch, min(2 * batch, MANY))
        count = max(batch, examples or usual)
        for task, lengths_B in lengths.items():
            for order in ORDERS if 1 < batch <= len(lengths_B) else ORDERS[:1]:
                rows = draw(lengths_B, batch, count, order, seed)
                yield Workload(task, batch, order, make(task, rows))


def draw(lengths_B: np.ndarray, batch: int, count: int, order: str, seed: int) -> list[np.ndarray]:
    """Rows of whole batches. As they come: random examples. Sorted: all examples are put in batches
    by length, as for offline scoring, and of these batches some are taken at even distances."""
    if order == "sorted":
        by_length = np.argsort(-lengths_B, kind="stable")
        whole = chunks(by_length, batch)[: len(lengths_B) // batch]
        taken = min(count // batch, len(whole))
        places = (np.arange(taken) + 0.5) / taken * len(whole)
        return [whole[int(place)] for place in places]
    size = count // batch * batch
    random = np.random.default_rng(seed)
    chosen = random.choice(len(lengths_B), size, replace=size > len(lengths_B))
    return chunks(chosen, batch)


@dataclass(frozen=True)
class Pool:
    """A task's dev examples: lengths, and each one's tenth by a trained model's confidence (0: the
    surest)."""

    lengths_B: np.ndarray
    tenth_B: np.ndarray


def pools(path: str | None, tasks: Sequence[str] | None) -> dict[str, Pool]:
    """The tasks of a histogram, {task: {length: examples in each tenth}}; None: ours."""
    file = Path(path) if path else HISTOGRAM
    try:
        counts = json.loads(file.read_text(encoding="utf-8"))
        found = {task: pool(by_length) for task, by_length in counts.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"lengths={file} must be a file as experiments/bench/lengths.py writes it, got: {error}"
        ) from None
    wanted = list(found) if tasks is None else tasks
    if unknown := [task for task in wanted if task not in found]:
        raise ConfigError(
            f"tasks must be of {', '.join(found)}: lengths={file} has no examples of "
            f"{', '.join(unknown)}"
        )
    return {task: found[task] for task in wanted}


def pool(by_length: dict[str, list[int]]) -> Pool:
    counts = np.array(list(by_length.values()))
    lengths = np.array([int(length) for length in by_length])
    tenths = np.tile(np.arange(counts.shape[1]), len(lengths))
    return Pool(lengths.repeat(counts.sum(1)), tenths.repeat(counts.ravel()))


def random_words(pools: Mapping[str, Pool], leaving: float, vocab_size: int, seed: int) -> Maker:
    """Random words of the examples' lengths. Of each workload exactly the share `leaving` is easy:
    those of the surest tenths, at random within a tenth."""

    def make(task: str, rows: list[np.ndarray]) -> list[Examples]:
        pool, all_rows = pools[task], np.concatenate(rows)
        tie = np.random.default_rng(seed).random(len(all_rows))
        surest_first = np.lexsort((tie, pool.tenth_B[all_rows]))
        easy = np.zeros(len(all_rows), bool)
        easy[surest_first[: round(leaving * len(all_rows))]] = True
        parts = np.split(easy, np.cumsum([len(r) for r in rows])[:-1])
        return [
            words(pool.lengths_B[r], part, vocab_size) for r, part in zip(rows, parts, strict=True)
        ]

    return make


def words(lengths: np.ndarray, easy: np.ndarray, vocab_size: int) -> Examples:
    random = np.random.default_rng(int(lengths.sum()))
    ids = [random.integers(1, vocab_size, n).tolist() for n in lengths]
    return Examples(Batch.from_lists(ids), torch.from_numpy(easy))


def itself(batch: Batch) -> Examples:
    """Examples of a split; trained weights say who leaves."""
    return Examples(batch, torch.zeros(batch.size, dtype=torch.bool))


def near(split: Any, task: str, length: int, count: int) -> Workload | None:
    """Single examples of about so many tokens: those of the split that are nearest to it. None
    where they are not about that long."""
    nearest = np.argsort(np.abs(split.lengths - length), kind="stable")[:count]
    if abs(split.lengths[nearest].mean() - length) > NEAR * length:
        print(f"{task}, about {length} tokens: left out, too few examples are so long", flush=True)
        return None
    found = [itself(split.batch(rows)) for rows in nearest[:, None]]
    return Workload(task, 1, f"about {length} tokens", found)


def long_texts(shape: Shape, length: int) -> Iterator[Workload]:
    """Two single texts of so many tokens, one of them easy; none where the body takes none."""
    if length > shape.max_length:
        print(f"{length:,} tokens: left out, this body takes {shape.max_length:,}", flush=True)
        return
    lengths, size = np.array([length]), shape.vocab_size
    made = [words(lengths, np.array([easy]), size) for easy in (True, False)]
    yield Workload("random words", 1, f"{length:,} tokens", made)
