"""What answering takes: measured batches, and times of any other batch from them.

A batch's way to an exit costs, in milliseconds, a sum over what it did there: reading it and its
tokens, each layer, each token and each example in a layer, each exit and each example at an exit.
The factors are fitted, none below zero, to relative errors. How far single batches were off is kept
as ratios, which a simulation draws from: a machine's unrest makes a tail of its own.

Shapes: B examples of a batch, L layers, I examples of the population, G measured ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from scipy.optimize import nnls

from eat_lightning.answers import Texts
from eat_lightning.infer.backend import Backend
from eat_lightning.infer.latency import undisturbed
from eat_lightning.progress import shown

NUM_FEATURES = 7
HELD_OUT = 4  # every fourth batch is for the error
WARM_UP = 10


@dataclass(frozen=True)
class Ways:
    """What examples do: layers run by each, tokens entering each layer (0 where it is not run), and
    the layers where one may leave, the last included."""

    depth_I: np.ndarray
    tokens_LI: np.ndarray
    exits: Sequence[int]

    def take(self, rows: np.ndarray) -> Ways:
        return Ways(self.depth_I[rows], self.tokens_LI[:, rows], self.exits)

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """A batch's way, exit by exit while somebody is there: the exits' layers, and what was done
        since the one before, a row for each."""
        rows, before = [], 0
        for layer in self.exits:
            here_I, in_layers = self.depth_I > before, layer - before
            count = here_I.sum()
            if not count:
                break
            read = 0 if before else self.tokens_LI[0].sum()
            tokens = (self.tokens_LI[before:layer] * here_I).sum()
            rows.append([not before, read, in_layers, tokens, in_layers * count, 1, count])
            before = layer
        steps = np.array(rows, float).reshape(-1, NUM_FEATURES)
        return np.array(self.exits[: len(rows)]), steps


@dataclass(frozen=True)
class Timed:
    """A batch as it was measured: who was in it, and at which exits (layers) somebody left after so
    many milliseconds since the exit before."""

    rows: np.ndarray
    layers: list[int]
    ms: list[float]


@dataclass(frozen=True)
class Service:
    """Times of any batch of a population. error: mean |predicted - measured| / mean measured, of
    whole batches that the fit left out. ratios: measured / predicted of all."""

    ways: Ways
    factors: np.ndarray
    ratios: np.ndarray
    error: float

    def times(self, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """Milliseconds until each of a batch has its answer, and until the batch is over."""
        ways = self.ways.take(rows)
        layers, steps = ways.steps()
        ends = (steps @ self.factors).cumsum()
        return ends[np.searchsorted(layers, ways.depth_I)], float(ends[-1])

    @property
    def mean_depth(self) -> float:
        return float(self.ways.depth_I.mean())

    def mean_ms(self, size: int, seed: int) -> float:
        """Mean time of an example in random batches of this size."""
        rng, whole = np.random.default_rng(seed), len(self.ways.depth_I)
        batches = [rng.integers(whole, size=size) for _ in range(max(20, 400 // size))]
        mean = np.mean([self.times(rows)[1] for rows in batches]) / size
        return float(mean * self.ratios.mean())


def ways_of(backend: Backend, texts: Texts, batch: int = 32) -> Ways:
    depth_I = np.zeros(len(texts), int)
    tokens_LI = np.zeros((backend.num_layers, len(texts)), int)
    for start in range(0, len(texts), batch):
        for left in backend.stream(texts[start : start + batch]):
            rows = start + np.array(left.places)
            depth_I[rows], tokens_LI[:, rows] = left.exits.depth_B, left.exits.tokens_LB
    return Ways(depth_I, tokens_LI, backend.exits)


def timed(backend: Backend, texts: Texts, rows: np.ndarray) -> Timed:
    chosen = [texts[int(i)] for i in rows]
    layers, ends = [], [perf_counter_ns()]
    for left in backend.stream(chosen):
        ends.append(perf_counter_ns())
        layers.append(int(left.exits.depth_B[0]))
    return Timed(rows, layers, (np.diff(ends) / 1e6).tolist())


def measured(
    backends: Mapping[str, Backend],
    texts: Texts,
    sizes: Sequence[int],
    count: int,
    seed: int,
) -> dict[str, Service]:
    """Time `count` random batches of each backend, by turns, of these sizes."""
    rng = np.random.default_rng(seed)
    ways = {name: ways_of(backend, texts) for name, backend in backends.items()}
    found: dict[str, list[Timed]] = {name: [] for name in backends}
    with undisturbed(1):
        for turn in shown(range(WARM_UP + count), "timing batches"):
            rows = rng.integers(len(texts), size=sizes[turn % len(sizes)])
            for name, backend in backends.items():
                batch = timed(backend, texts, rows)
                if turn >= WARM_UP:
                    found[name].append(batch)
    return {name: fitted(ways[name], batches) for name, batches in found.items()}


def fitted(ways: Ways, batches: Sequence[Timed]) -> Service:
    """Fit the factors to three of four batches, and tell the error on the others."""
    seen = [batch for i, batch in enumerate(batches) if i % HELD_OUT]
    rows = np.array([row for batch in seen for row in spans(ways, batch)])
    taken_G = np.array([ms for batch in seen for ms in batch.ms])
    factors, _ = nnls(rows / taken_G[:, None], np.ones(len(rows)))
    bare = Service(ways, factors, np.ones(1), 0.0)
    predicted = np.array([bare.times(batch.rows)[1] for batch in batches])
    whole = np.array([sum(batch.ms) for batch in batches])
    others = np.arange(len(batches)) % HELD_OUT == 0
    missed = np.abs(predicted - whole)[others].mean() / whole[others].mean()
    return Service(ways, factors, whole / predicted, float(missed))


def spans(ways: Ways, batch: Timed) -> Iterator[np.ndarray]:
    """What was done between two exits where somebody left: of those between, nobody told."""
    layers, steps = ways.take(batch.rows).steps()
    before = 0
    for layer in batch.layers:
        inside = (layers > before) & (layers <= layer)
        yield steps[inside].sum(0)
        before = layer
