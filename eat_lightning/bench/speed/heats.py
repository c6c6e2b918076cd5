"""Which examples are raced over: a task's dev examples in batches, as they come or by length.

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.bench.speed.contestants import Work, work
from eat_lightning.infer.latency import chunks

ORDERS = ("as they come", "sorted")
SINGLES = 24  # examples at batch 1, where nothing is said
MANY = 64  # and in batches: two of them at least, until there are so many


@dataclass
class Heat:
    """One task at one batch size in one order."""

    task: str
    batch: int
    order: str
    works: list[Work]

    @property
    def lengths(self) -> list[np.ndarray]:
        return [given.batch.lengths_B.numpy() for given in self.works]

    @property
    def num_examples(self) -> int:
        return sum(len(given.easy_B) for given in self.works)

    @property
    def padding_factor(self) -> float:
        padded = sum(int(lengths.max()) * len(lengths) for lengths in self.lengths)
        return padded / sum(int(lengths.sum()) for lengths in self.lengths)

    @property
    def name(self) -> str:
        return f"{self.task}, batch {self.batch}, {self.order}"


@dataclass(frozen=True)
class Pool:
    """A task's dev examples: their lengths, and how sure a trained model's last early exit was of
    each (None: not recorded)."""

    lengths_B: np.ndarray
    sure_B: np.ndarray | None = None


def heats(
    lengths: Mapping[str, np.ndarray],
    batches: Sequence[int],
    examples: int | None,
    seed: int,
    works: Callable[[str, list[np.ndarray]], list[Work]],
) -> Iterator[Heat]:
    """All tasks at one batch size, then at the next; `works` makes of a task and the rows of its
    batches what is run. examples: of each heat, a batch at least; None: `enough`."""
    for batch in batches:
        for task, lengths_B in lengths.items():
            count = max(batch, enough(batch) if examples is None else examples)
            for order in ORDERS if 1 < batch <= len(lengths_B) else ORDERS[:1]:
                rows = drawn(lengths_B, batch, count, order, seed)
                yield Heat(task, batch, order, works(task, rows))


def enough(batch: int) -> int:
    return SINGLES if batch == 1 else max(batch, min(2 * batch, MANY))


def drawn(lengths_B: np.ndarray, batch: int, count: int, order: str, seed: int) -> list[np.ndarray]:
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


def random_words(
    pools: Mapping[str, Pool], leaving: float, vocab_size: int, seed: int
) -> Callable[[str, list[np.ndarray]], list[Work]]:
    """Random words of the examples' lengths. Of each heat exactly the share `leaving` is easy:
    those that the trained model was surest of, at random where that is not known."""

    def works(task: str, rows: list[np.ndarray]) -> list[Work]:
        pool, all_rows = pools[task], np.concatenate(rows)
        random = np.random.default_rng(seed).random(len(all_rows))
        sure = random if pool.sure_B is None else pool.sure_B[all_rows]
        rank = np.empty(len(all_rows), int)
        rank[np.argsort(-sure, kind="stable")] = np.arange(len(all_rows))
        easy = np.split(rank < round(leaving * len(rank)), np.cumsum([len(r) for r in rows])[:-1])
        return [work(pool.lengths_B[r], e, vocab_size) for r, e in zip(rows, easy, strict=True)]

    return works
