"""Interleaved timing of several settings, from token ids to an answer, so that their ratios hold.

Settings take turns, a block of examples each, in rotating order: so a machine that slows down for a
while slows all of them alike. Tokenizing and putting ids into tensors are not timed; on a GPU the
copy of the ids is.

Shapes: R repeats, I inputs (examples at batch 1, or batches), B examples, S settings, D draws.
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
from jaxtyping import Float

from eat_lightning.model.packed import Batch
from eat_lightning.progress import bar

Name = TypeVar("Name")
KERNELS = 16384  # 6 layers of different widths have 24 shapes, at each number of tokens
BLOCK = 20  # examples that a setting runs in its turn
DRAWS = 1000  # random samples, of which the one nearest to the mean cost of all is timed
RESAMPLES = 2000  # bootstrap samples of an interval
ORDERS = ("", "_sorted")  # of examples in batches: as they come, and by length; a field's suffix


@dataclass
class TimedCall:
    """A setting to time.

    Args:
        run: the timed call, on one input.
        split: the split whose examples are run.
        ready: makes an input of a batch of the split, untimed.
        cost_B: FLOPs of each example, if known.
    """

    run: Callable[[Any], Any]
    split: Any
    ready: Callable[[Batch], Any] = lambda batch: batch
    cost_B: np.ndarray | None = None

    def cost_share(self, rows: np.ndarray) -> float | None:
        """Return the mean cost of some examples divided by that of all; None if unknown."""
        return None if self.cost_B is None else float(self.cost_B[rows].mean() / self.cost_B.mean())


def keep_kernels(most: int = KERNELS) -> None:
    """Let oneDNN cache this many kernels; call it before the first product. The default is 1,024.
    When many settings take turns, the time of one whose kernels were dropped would include making
    them again: 0.5 ms each, more than twice the time of an encoder with layers of different widths.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(most))


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """Set the number of threads, without gradients and garbage collection; restore all at the
    end."""
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
    """Return the milliseconds (R x I) of each setting for each of its inputs.

    A turn begins with an input that is not timed, because the setting before has filled the
    processor's caches with its own weights, while a service runs one model.

    Args:
        settings: by name, a callable and its inputs.
        block: inputs that a setting runs in its turn.
        advance: called with the number of inputs that are done.
        turns_before: turns of earlier calls, after which the order goes on rotating.
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


def drawn_at_mean_cost(
    costs: Sequence[np.ndarray], size: int, examples: int, seed: int = 0
) -> np.ndarray:
    """Draw rows whose mean cost is near that of all `size` examples in every setting: of `DRAWS`
    random draws, the one whose largest relative difference is least.

    Args:
        costs: cost of each example, for each setting.
        size: number of examples to draw from.
    """
    rng = np.random.default_rng(seed)
    if not costs or examples >= size:
        return rng.permutation(size)[:examples]
    share_SB = np.stack([cost_B / cost_B.mean() for cost_B in costs])
    draws = (rng.choice(size, examples, replace=False) for _ in range(DRAWS))
    return min(draws, key=lambda rows: np.abs(share_SB[:, rows].mean(1) - 1).max())


def drawn_rows(
    candidates: Mapping[Name, TimedCall], examples: int, seed: int
) -> dict[Name, np.ndarray]:
    """Return the rows to time in each setting, the same ones in all splits of equal size."""
    alike: dict[int, list[TimedCall]] = {}
    for candidate in candidates.values():
        alike.setdefault(len(candidate.split), []).append(candidate)
    drawn = {
        size: drawn_at_mean_cost(
            [c.cost_B for c in some if c.cost_B is not None], size, examples, seed
        )
        for size, some in alike.items()
    }
    return {name: drawn[len(candidate.split)] for name, candidate in candidates.items()}


def time_all(
    candidates: Mapping[Name, TimedCall],
    examples: int = 1000,
    warmup: int = 50,
    repeats: int = 3,
    batch: int = 32,
    threads: int = 1,
    seed: int = 0,
    alone: bool = True,
    orders: Sequence[str] = ORDERS,
) -> Iterator[dict[Name, dict[str, Any]]]:
    """Time latency at batch 1 and throughput of all candidates. Yields after every repeat what all
    repeats so far give, so that a call that is ended early loses no more than one.

    For each candidate these are fields of a `Row`, with all times in `latency_RI` and `batches_RI`,
    as far as both are timed. If costs are known, the timed examples have nearly their mean, and
    `timed_cost` is the ratio.

    Args:
        examples: random examples to time (all if there are fewer).
        warmup: examples that run before, untimed, one at a time and in batches.
        batch: examples of a batch, for throughput.
        alone: whether latency is timed.
        orders: those of `ORDERS` in which throughput is timed; without any it is not.
    """
    if not candidates:
        return
    rows, by_length = drawn_rows(candidates, examples, seed), {}
    for name, candidate in candidates.items():
        lengths = candidate.split.lengths[rows[name]]
        by_length[name] = rows[name][np.argsort(-lengths, kind="stable")]
    single = Turns(candidates, rows, 1) if alone else None
    ordered: dict[str, dict[Name, np.ndarray]] = dict(zip(ORDERS, (rows, by_length), strict=True))
    batched = {suffix: Turns(candidates, ordered[suffix], batch, 1) for suffix in orders}
    with undisturbed(threads):
        if single is not None:
            single.warm_up(warmup)
        for turns in batched.values():
            turns.warm_up(-(-max(1, warmup) // batch))
    for repeat in range(1, repeats + 1):
        count = f"{repeat} of {repeats}"
        with undisturbed(threads):
            if single is not None:
                single.take(f"latency of {len(candidates)} settings, {count}")
            for suffix, turns in batched.items():
                turns.take(f"throughput{suffix.replace('_', ', ')}, {count}")
        how = {"latency_batch": 1, "throughput_batch": batch, "repeats": repeat, "threads": threads}
        found: dict[Name, dict[str, Any]] = {name: {**how} for name in candidates}
        for name, fields in found.items():
            if single is not None:
                fields |= latency(single.took[name])
            fields["timed_examples"] = len(rows[name])
            fields["timed_cost"] = candidates[name].cost_share(rows[name])
            for suffix, turns in batched.items():
                fields |= turns.throughput(name, suffix)
        yield found


class Turns:
    """Candidates that take turns, one repeat after another.

    Args:
        rows: examples of each.
        size: examples of an input.
        block: inputs that a setting runs in its turn.

    Attributes:
        took: milliseconds (R x I) of each candidate, for the repeats so far.
    """

    def __init__(
        self,
        candidates: Mapping[Any, TimedCall],
        rows: Mapping[Any, np.ndarray],
        size: int,
        block: int = BLOCK,
    ):
        self.candidates, self.block = candidates, block
        self.groups = {name: chunks(chosen, size) for name, chosen in rows.items()}
        self.settings = {
            name: (c.run, [c.ready(c.split.batch(rows)) for rows in self.groups[name]])
            for name, c in candidates.items()
        }
        self.took = {name: np.zeros((0, len(groups))) for name, groups in self.groups.items()}

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

    def throughput(self, name: Any, suffix: str) -> dict[str, Any]:
        """Return fields of a `Row`: examples per second over all repeats, in the slowest and in the
        fastest one; and padded tokens / real tokens if batches were padded to their longest."""
        took_RI, groups = self.took[name], self.groups[name]
        lengths = [self.candidates[name].split.lengths[rows] for rows in groups]
        padded = sum(int(each.max()) * len(each) for each in lengths)
        num_examples = sum(map(len, groups))
        rate_R = num_examples / took_RI.sum(1) * 1000
        return {
            f"throughput{suffix}": float(num_examples * len(took_RI) / took_RI.sum() * 1000),
            f"throughput{suffix}_low": float(rate_R.min()),
            f"throughput{suffix}_high": float(rate_R.max()),
            f"batches{suffix}_RI": took_RI,
            f"padding_factor{suffix}": padded / sum(int(each.sum()) for each in lengths),
        }


def latency(took_RI: np.ndarray) -> dict[str, Any]:
    """Return fields of a `Row`: mean and percentiles over examples and repeats, and all times."""
    p50, p90, p99 = np.percentile(took_RI, [50, 90, 99])
    means_R = took_RI.mean(1)
    return {
        "latency_ms": float(took_RI.mean()),
        "latency_p50_ms": float(p50),
        "latency_p90_ms": float(p90),
        "latency_p99_ms": float(p99),
        "latency_low_ms": float(means_R.min()),
        "latency_high_ms": float(means_R.max()),
        "latency_RI": took_RI,
    }


def speed_up(
    slower_RI: Float[np.ndarray, "r i"], took_RI: Float[np.ndarray, "r i"]
) -> tuple[float, float, float]:
    """Return the ratio of two settings' mean times, and the ends of its 95 % bootstrap interval. A
    resample draws inputs, and one repeat, which is the same for both settings."""
    rng, (num_repeats, num_inputs) = np.random.default_rng(0), took_RI.shape
    rows_DI = rng.integers(num_inputs, size=(RESAMPLES, num_inputs))
    repeat_D1 = rng.integers(num_repeats, size=(RESAMPLES, 1))
    ratios_D = slower_RI[repeat_D1, rows_DI].mean(1) / took_RI[repeat_D1, rows_DI].mean(1)
    low, high = np.quantile(ratios_D, [0.025, 0.975])
    return float(slower_RI.mean() / took_RI.mean()), float(low), float(high)


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]
