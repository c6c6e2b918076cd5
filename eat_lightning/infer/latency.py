"""Time from token ids to an answer, of several settings at once, so that their ratios hold.

A machine that slows down for a while slows all settings alike: they take turns, a block of examples
each, in rotating order. Tokenizing and putting ids into tensors are not timed; on a GPU the copy of
the ids is. Shapes: R repeats, I inputs (examples at batch 1, or batches).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, TypeVar

import numpy as np
import torch

from eat_lightning.model.packed import Batch
from eat_lightning.progress import bar

Name = TypeVar("Name")
KERNELS = "16384"  # 6 layers of different widths have 24 shapes, at each number of tokens
BLOCK = 20  # examples that a setting runs before the next one's turn


@dataclass
class Candidate:
    """A setting to time: `run` answers what `ready` makes of a batch of `split`."""

    run: Callable[[Any], Any]
    split: Any
    ready: Callable[[Batch], Any] = lambda batch: batch

    def inputs(self, groups: Sequence[np.ndarray]) -> list[Any]:
        return [self.ready(self.split.batch(rows)) for rows in groups]


def keep_kernels() -> None:
    """Let oneDNN keep every kernel, which it must be told before its first product. It keeps 1,024,
    and where many settings take turns, one whose kernels were dropped is timed with their making:
    0.5 ms each, more than twice the time of an encoder whose layers have widths of their own."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """So many threads, no gradients, no garbage collection; all is put back."""
    before, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(threads)
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()


def time_interleaved(
    settings: Mapping[Name, tuple[Callable[[Any], Any], Sequence[Any]]],
    repeats: int = 3,
    block: int = BLOCK,
    advance: Callable[[int], None] = lambda count: None,
    turns_before: int = 0,
) -> dict[Name, np.ndarray]:
    """Milliseconds (R x I) that each setting's callable takes for each of its inputs.

    A turn begins with an input that is not timed: the setting before has filled the processor's
    caches with its own weights, and a service runs one model. `advance` hears of inputs done;
    turns_before: of an earlier call, from which the order goes on rotating.
    """
    names = list(settings)
    took = {name: np.zeros((repeats, len(settings[name][1]))) for name in names}
    num_blocks = max(-(-times.shape[1] // block) for times in took.values())
    turns = [(r, b) for r in range(repeats) for b in range(num_blocks)]
    for turn, (r, b) in enumerate(turns, turns_before):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            run, inputs = settings[name]
            chosen = range(b * block, min((b + 1) * block, len(inputs)))
            if block > 1 and chosen:
                run(inputs[chosen[0]])
            for i in chosen:
                start = perf_counter_ns()
                run(inputs[i])
                took[name][r, i] = (perf_counter_ns() - start) / 1e6
            advance(len(chosen))
    return took


def time_all(
    candidates: Mapping[Name, Candidate],
    examples: int = 1000,
    warmup: int = 50,
    repeats: int = 3,
    batch: int = 32,
    threads: int = 1,
    seed: int = 0,
) -> Iterator[dict[Name, dict[str, Any]]]:
    """Latency at batch 1 over random examples (all if there are fewer) and throughput, as they come
    and sorted by length, as fields of a `Row`; and of each repeat `latency_R` and `rate_R`.

    Yields after every repeat what all repeats so far say: a long call that is ended has lost no
    more than one.
    """
    if not candidates:
        return
    rows = {name: sample(c, examples, seed) for name, c in candidates.items()}
    session = Session.of(candidates, rows, batch)
    with undisturbed(threads):
        session.warm_up(warmup)
    for repeat in range(1, repeats + 1):
        with undisturbed(threads):
            session.take(f"{repeat} of {repeats}")
        how = {"latency_batch": 1, "throughput_batch": batch, "repeats": repeat, "threads": threads}
        yield {name: session.fields(name) | how for name in candidates}


@dataclass
class Session:
    """Candidates over the same examples: one at a time, and in batches, for each suffix of a
    throughput ("": as they come, "_sorted": by length)."""

    candidates: Mapping[Any, Candidate]
    single: Turns
    batched: dict[str, Turns]

    @classmethod
    def of(
        cls, candidates: Mapping[Name, Candidate], rows: Mapping[Name, np.ndarray], batch: int
    ) -> Session:
        singles = {name: chunks(chosen, 1) for name, chosen in rows.items()}
        as_they_come = {name: chunks(chosen, batch) for name, chosen in rows.items()}
        by_length = {
            name: chunks(longest_first(candidates[name], chosen), batch)
            for name, chosen in rows.items()
        }
        batched = {
            "": Turns.of(candidates, as_they_come, 1),
            "_sorted": Turns.of(candidates, by_length, 1),
        }
        return cls(candidates, Turns.of(candidates, singles), batched)

    def warm_up(self, inputs_each: int) -> None:
        self.single.warm_up(inputs_each)
        for turns in self.batched.values():
            turns.warm_up(1)

    def take(self, count: str) -> None:
        """Time one repeat of everything."""
        self.single.take(f"latency of {len(self.candidates)} settings, {count}")
        for suffix, turns in self.batched.items():
            turns.take(f"throughput{suffix.replace('_', ', ')}, {count}")

    def fields(self, name: Any) -> dict[str, Any]:
        """What the repeats so far say of a candidate."""
        num_examples = len(self.single.groups[name])
        found = latency(self.single.took[name]) | {"timed_examples": num_examples}
        for suffix, turns in self.batched.items():
            found |= throughput(turns.took[name], num_examples, suffix)
            found |= padding(self.candidates[name], turns.groups[name], suffix)
        return found


@dataclass
class Turns:
    """Settings that take turns over their inputs, one repeat after another. groups: the examples
    of each input; took: milliseconds (R x I) of each, for the repeats taken so far."""

    settings: dict[Any, tuple[Callable[[Any], Any], list[Any]]]
    groups: Mapping[Any, Sequence[np.ndarray]]
    block: int
    took: dict[Any, np.ndarray]

    @classmethod
    def of(
        cls,
        candidates: Mapping[Name, Candidate],
        groups: Mapping[Name, Sequence[np.ndarray]],
        block: int = BLOCK,
    ) -> Turns:
        settings = {name: (c.run, c.inputs(groups[name])) for name, c in candidates.items()}
        none_yet = {name: np.zeros((0, len(groups[name]))) for name in settings}
        return cls(settings, groups, block, none_yet)

    def warm_up(self, inputs_each: int) -> None:
        for run, inputs in self.settings.values():
            for i in range(inputs_each):
                run(inputs[i % len(inputs)])

    def take(self, title: str) -> None:
        """Time one repeat."""
        sizes = [len(inputs) for _, inputs in self.settings.values()]
        blocks_before = len(next(iter(self.took.values()))) * -(-max(sizes) // self.block)
        with bar(title, sum(sizes)) as advance:
            new = time_interleaved(self.settings, 1, self.block, advance, blocks_before)
        self.took = {name: np.vstack((self.took[name], new[name])) for name in new}


def latency(took_RI: np.ndarray) -> dict[str, Any]:
    """Mean and percentiles over examples and repeats, and the mean of each repeat."""
    p50, p90, p99 = np.percentile(took_RI, [50, 90, 99])
    means_R = took_RI.mean(1)
    return {
        "latency_ms": float(took_RI.mean()),
        "latency_p50_ms": float(p50),
        "latency_p90_ms": float(p90),
        "latency_p99_ms": float(p99),
        "latency_low_ms": float(means_R.min()),
        "latency_high_ms": float(means_R.max()),
        "latency_R": means_R,
    }


def throughput(took_RI: np.ndarray, num_examples: int, suffix: str) -> dict[str, Any]:
    """Examples per second over all repeats, and the slowest and the fastest repeat's."""
    rate_R = num_examples / took_RI.sum(1) * 1000
    return {
        f"throughput{suffix}": float(num_examples * len(took_RI) / took_RI.sum() * 1000),
        f"throughput{suffix}_low": float(rate_R.min()),
        f"throughput{suffix}_high": float(rate_R.max()),
        f"rate{suffix}_R": rate_R,
    }


def padding(candidate: Candidate, groups: Sequence[np.ndarray], suffix: str) -> dict[str, float]:
    """Padded tokens / real tokens, were each batch padded to its longest example."""
    lengths = candidate.split.lengths
    padded = sum(int(lengths[rows].max()) * len(rows) for rows in groups)
    real = sum(int(lengths[rows].sum()) for rows in groups)
    return {f"padding_factor{suffix}": padded / real}


def sample(candidate: Candidate, examples: int, seed: int) -> np.ndarray:
    """Random rows of a candidate's split, the same ones in every split of that length."""
    return np.random.default_rng(seed).permutation(len(candidate.split))[:examples]


def longest_first(candidate: Candidate, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(-candidate.split.lengths[rows], kind="stable")]


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]
