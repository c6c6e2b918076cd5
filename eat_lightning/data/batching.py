"""Assignment of examples to batches, as a pure function of lengths, seed and epoch.

Resuming therefore needs no state. Every process computes the same batches and takes its part of
each. The parts have nearly equal numbers of tokens, because these determine the cost of a packed
step.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from eat_lightning.model.packed import Batch

CHUNK_BATCHES = 50  # sorted by length within so many batches: even lengths, yet random company


def shuffled_batches(
    lengths: np.ndarray, seed: int, epoch: int, batch_size: int, tokens_per_batch: int | None = None
) -> list[np.ndarray]:
    """Return every example once in batches of similar lengths, limited by count or by tokens."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    per_batch = batch_size
    if tokens_per_batch is not None:
        per_batch = max(1, int(tokens_per_batch / lengths.mean()))
    # A whole number of batches per chunk, so that only the last batch is a short one.
    chunk = np.arange(len(order)) // (CHUNK_BATCHES * per_batch)
    order = order[np.lexsort((-lengths[order], chunk))]
    if tokens_per_batch is None:
        batches = np.split(order, range(batch_size, len(order), batch_size))
    else:
        batches = within_budget(order, lengths[order], tokens_per_batch)
        batches = halved(batches, most_batches(lengths, tokens_per_batch, int(chunk[-1]) + 1))
    return [batches[i] for i in rng.permutation(len(batches))]


def sorted_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return every example once, longest first, so that memory runs out early if it does."""
    order = np.argsort(-lengths, kind="stable")
    return np.split(order, range(batch_size, len(order), batch_size))


def spread_rows(num: int, wanted: int) -> np.ndarray:
    """Return `wanted` of `num` rows, evenly spaced, or all if there are fewer."""
    return np.linspace(0, num - 1, min(wanted, num)).round().astype(np.int64)


def spread_batches(split: Any, examples: int, batch_size: int) -> Iterator[Batch]:
    """Yield batches of `examples` examples, evenly spaced over a split."""
    rows_B = spread_rows(len(split), examples)
    for start in range(0, len(rows_B), batch_size):
        yield split.batch(rows_B[start : start + batch_size])


def within_budget(order: np.ndarray, lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Fill batches in the given order up to a token budget. A longer example gets its own batch."""
    cuts, tokens = [], 0
    for i, length in enumerate(lengths.tolist()):
        if i and tokens + length > budget:
            cuts.append(i)
            tokens = 0
        tokens += length
    return np.split(order, cuts)


def most_batches(lengths: np.ndarray, budget: int, num_chunks: int) -> int:
    """Return an upper bound on the number of batches from `within_budget`, for any epoch.

    If an example of length x does not fit a batch, the batch holds at least budget - x + 1 tokens
    and, for descending lengths, no example shorter than x. Its shares below therefore sum to 1 or
    more. Only the last batch of a chunk may have less.
    """
    share = np.minimum(lengths / np.maximum(budget - lengths + 1, 1), 1)
    return min(int(share.sum()) + num_chunks + 1, len(lengths))


def halved(batches: list[np.ndarray], num_batches: int) -> list[np.ndarray]:
    """Halve the largest batches until there are `num_batches`. Schedules count steps, while the
    random order of each epoch would give slightly different numbers of batches.
    """
    batches = sorted(batches, key=len)
    while len(batches) < num_batches:
        largest = batches.pop()
        for half in np.array_split(largest, 2):
            insort(batches, half, key=len)
    return batches


@dataclass(frozen=True)
class Share:
    """One process's part of a batch.

    Args:
        num_global: number of examples in all parts.
        idle: True if the batch has fewer examples than there are processes, and none for this one.
            It then runs a row of another process without counting it, because all processes must
            take part in each step.
    """

    rows: np.ndarray
    num_global: int
    idle: bool = False


def dealt(batch: np.ndarray, lengths: np.ndarray, world_size: int) -> list[np.ndarray]:
    """Split a batch among processes with nearly equal numbers of tokens.

    Examples are assigned longest first to the process with the fewest tokens (longest processing
    time, Graham 1969).

    Args:
        lengths: of the whole split.
    """
    if world_size == 1:
        return [batch]
    parts: list[list[int]] = [[] for _ in range(world_size)]
    tokens = [0] * world_size
    for row in batch[np.argsort(-lengths[batch], kind="stable")].tolist():
        lightest = tokens.index(min(tokens))
        parts[lightest].append(row)
        tokens[lightest] += int(lengths[row])
    return [np.array(part, dtype=np.int64) for part in parts]


def shares(
    batches: list[np.ndarray], lengths: np.ndarray, rank: int, world_size: int
) -> Iterator[Share]:
    """Yield one process's part of each batch."""
    for batch in batches:
        rows = dealt(batch, lengths, world_size)[rank]
        if len(rows):
            yield Share(rows, len(batch))
        else:
            shortest = batch[[np.argmin(lengths[batch])]]
            yield Share(shortest, len(batch), idle=True)


@dataclass
class Place:
    """Position at which training resumes: `batch` batches of `epoch` (from 0) are done."""

    epoch: int = 0
    batch: int = 0


@dataclass(eq=False)
class Order(Sampler[Share]):
    """Yields this process's part of each batch, starting at `resume`.

    A strategy may ask for the loader before the checkpoint is read. `resume` is therefore an object
    of the data module that is read at the start of an epoch. The length is that of the whole epoch:
    when resuming, Lightning adds completed batches to those it fetches and compares the sum with
    it.
    """

    lengths: np.ndarray
    seed: int
    batch_size: int
    tokens_per_batch: int | None = None
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    resume: Place = field(default_factory=Place)
    known: tuple[int, list[np.ndarray]] = (-1, [])

    def batches(self) -> list[np.ndarray]:
        if self.known[0] != self.epoch:
            size = self.batch_size, self.tokens_per_batch
            made = shuffled_batches(self.lengths, self.seed, self.epoch, *size)
            self.known = self.epoch, made
        return self.known[1]

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches())

    def __iter__(self) -> Iterator[Share]:
        start = self.resume.batch if self.resume.epoch == self.epoch else 0
        yield from shares(self.batches()[start:], self.lengths, self.rank, self.world_size)


class Loader(DataLoader):
    """A loader without state to save, since its order is determined by seed and epoch. It defines
    these two methods because Lightning otherwise warns that it cannot resume.
    """

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
