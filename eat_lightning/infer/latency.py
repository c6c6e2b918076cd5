"""Time from token ids to an answer, of several settings at once, so that their ratios hold.

A machine that slows down for a while slows all settings alike: they take turns, a block of examples
each, in rotating order. Tokenizing and putting ids into tensors are not timed; on a GPU the copy of
the ids is. Shapes: R repeats, I inputs (examples at batch 1, or batches).
"""

from __future__ import annotations

import gc
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
BLOCK = 20  # examples that a setting runs before the next one's turn


@dataclass
class Candidate:
    """A setting to time: `run` answers what `ready` makes of a batch of `split`."""

    run: Callable[[Any], Any]
    split: Any
    ready: Callable[[Batch], Any] = lambda batch: batch

    def inputs(self, groups: Sequence[np.ndarray]) -> list[Any]:
        return [self.ready(self.split.batch(rows)) for rows in groups]


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
) -> dict[Name, np.ndarray]:
    """Milliseconds (R x I) that each setting's callable takes for each of its inputs.

    A turn begins with an input that is not timed: the setting before has filled the processor's
    caches with its own weights, and a service runs one model. `advance` hears of inputs done.
    """
    names = list(settings)
    took = {name: np.zeros((repeats, len(settings[name][1]))) for name in names}
    num_blocks = max(-(-times.shape[1] // block) for times in took.values())
    turns = [(r, b) for r in range(repeats) for b in range(num_blocks)]
    for turn, (r, b) in enumerate(turns):
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
) -> dict[Name, dict[str, Any]]:
    """Latency at batch 1 over random examples (all if there are fewer) and throughput, as they come
    and sorted by length, as fields of a `Row`; and of each repeat `latency_R` and `rate_R`."""
    if not candidates:
        return {}
    rows = {
        name: np.random.default_rng(seed).permutation(len(c.split))[:examples]
        for name, c in candidates.items()
    }
    singles = {name: chunks(chosen, 1) for name, chosen in rows.items()}
    orders = {
        "": {name: chunks(chosen, batch) for name, chosen in rows.items()},
        "_sorted": {name: by_length(candidates[name], rows[name], batch) for name in rows},
    }
    with undisturbed(threads):
        title = f"latency of {len(singles)} settings"
        took = turns(title, candidates, singles, repeats, warmup)
        found = {name: latency(took_RI) for name, took_RI in took.items()}
        for suffix, groups in orders.items():
            title = "throughput" + suffix.replace("_", ", ")
            for name, took_RI in turns(title, candidates, groups, repeats, 1, block=1).items():
                found[name] |= throughput(took_RI, len(rows[name]), suffix)
                found[name] |= padding(candidates[name], groups[name], suffix)
    how = {"latency_batch": 1, "throughput_batch": batch, "repeats": repeats, "threads": threads}
    return {
        name: fields | how | {"timed_examples": len(rows[name])} for name, fields in found.items()
    }


def turns(
    title: str,
    candidates: Mapping[Name, Candidate],
    groups: Mapping[Name, Sequence[np.ndarray]],
    repeats: int,
    warmup: int,
    block: int = BLOCK,
) -> dict[Name, np.ndarray]:
    """Milliseconds (R x I) of every candidate for its groups of rows, after a warm-up of so many
    inputs."""
    settings = {name: (c.run, c.inputs(groups[name])) for name, c in candidates.items()}
    for run, inputs in settings.values():
        for i in range(warmup):
            run(inputs[i % len(inputs)])
    num_inputs = sum(len(inputs) for _, inputs in settings.values())
    with bar(title, num_inputs * repeats) as advance:
        return time_interleaved(settings, repeats, block, advance)


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


def padding(candidate: Candidate, groups: list[np.ndarray], suffix: str) -> dict[str, float]:
    """Padded tokens / real tokens, were each batch padded to its longest example."""
    lengths = candidate.split.lengths
    padded = sum(int(lengths[rows].max()) * len(rows) for rows in groups)
    real = sum(int(lengths[rows].sum()) for rows in groups)
    return {f"padding_factor{suffix}": padded / real}


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def by_length(candidate: Candidate, rows: np.ndarray, size: int) -> list[np.ndarray]:
    return chunks(rows[np.argsort(-candidate.split.lengths[rows], kind="stable")], size)
