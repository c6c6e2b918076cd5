"""Batches beside fixed depth: where the time of those that leave goes.

    python -m experiments.budgets.batches RUN... [budget=0.4] [examples=640]    # data: EAT_DATA

Of one call, settings by turns, five repeats, batches of 32 as they come, prepacked, fp32, one
thread:

* exits; and pooled, where survivors of many batches go on together (`infer.depth_batching.Pool`);
* layers alone: what exits run of the body, each layer on the rows that reach it and found before;
* layers and compaction: the same, and whoever leaves is taken out;
* fixed depth at the same mean depth: time is linear between the two layers beside it.

What exits take beyond fixed depth then falls in four: survivors that are longer than the rest
(tokens, counted), layers that are slower on fewer rows, compaction, heads with their rule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pandas import DataFrame

from eat_lightning.errors import ConfigError, reported
from eat_lightning.infer.depth_batching import Pool
from eat_lightning.infer.prepacked import prepacked
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.options import ALL_EXITS
from eat_lightning.model.packed import Batch, Packed
from eat_lightning.record.timing import keep_kernels, time_interleaved, undisturbed
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.dial import Budget
from experiments.bench.tables import markdown

SIZE, REPEATS = 32, 5


@dataclass
class Way:
    """A batch, and how far each of its examples goes under the encoder's exit rule."""

    encoder: AdaptiveEncoder
    batch: Batch

    def start(self) -> Packed:
        return self.encoder.start(self.batch, self.encoder.recorder(self.batch, ALL_EXITS))

    @property
    def last(self) -> int:
        return len(self.encoder.layers)

    @cached_property
    def depth_B(self) -> torch.Tensor:
        return self.encoder(self.batch).depth_B

    @cached_property
    def survivors(self) -> list[Packed]:
        """Rows that enter each layer. A layer's time does not hang on their values, so that they
        are those of the embedding."""
        packed, deepest = self.start(), int(self.depth_B.max())
        return [packed.only(self.depth_B >= layer) for layer in range(1, deepest + 1)]

    def layers_alone(self) -> None:
        self.start()
        for layer, packed in enumerate(self.survivors, 1):
            self.encoder.run_layer(packed, layer)

    def compacted(self) -> None:
        packed, depth_B = self.start(), self.depth_B
        for layer in range(1, int(depth_B.max()) + 1):
            packed, _ = self.encoder.run_layer(packed, layer)
            stays_B = depth_B > layer
            if stays_B.any() and not stays_B.all():
                packed, depth_B = packed.only(stays_B), depth_B[stays_B]


@dataclass
class Lost:
    """Times of each setting of a call (ms, by repeat; a fixed depth by its layer)."""

    took: dict[Any, np.ndarray]
    depth: float
    longer: float  # tokens x layers of those that stay, over those of all at the mean depth

    @cached_property
    def fixed_R(self) -> np.ndarray:
        below, above = int(np.floor(self.depth)), int(np.ceil(self.depth))
        share = self.depth - below
        return (1 - share) * self.took[below] + share * self.took[above]

    def times(self) -> Iterator[dict[str, str]]:
        """Speed of each setting."""
        for name in self.took:
            if isinstance(name, str):
                full_R, own_R = self.took["full depth"], self.took[name]
                yield {
                    "batches of 32": name,
                    "over full depth": spread(full_R / own_R),
                    "over fixed depth": spread(self.fixed_R / own_R),
                }

    def parts(self) -> Iterator[dict[str, str]]:
        """Return the time of exits beyond fixed depth at the same mean depth, in shares of its
        time."""
        exits_R, layers_R = self.took["exits"], self.took["layers alone"]
        compacted_R = self.took["layers and compaction"]
        longer_R = (self.longer - 1) * self.fixed_R
        for name, part_R in {
            "survivors are longer": longer_R,
            "layers on fewer rows": layers_R - self.fixed_R - longer_R,
            "compaction": compacted_R - layers_R,
            "heads and rule": exits_R - compacted_R,
            "together": exits_R - self.fixed_R,
        }.items():
            yield {"beyond fixed depth": name, "share of its time": spread(part_R / self.fixed_R)}


def spread(of_R: np.ndarray) -> str:
    return f"{np.median(of_R):.2f} ({of_R.min():.2f} to {of_R.max():.2f})"


def each_alone(step: Callable[[Way], Any]) -> Callable[[Sequence[Way]], None]:
    """Every batch to its end before the next."""

    def run(ways: Sequence[Way]) -> None:
        for way in ways:
            step(way)

    return run


def whole(encoder: AdaptiveEncoder) -> Callable[[Sequence[Way]], None]:
    return each_alone(lambda way: encoder(way.batch))


def pooled(encoder: AdaptiveEncoder) -> Callable[[Sequence[Way]], None]:
    """Survivors wait at each exit until they fill a batch."""

    def run(ways: Sequence[Way]) -> None:
        pool: Pool[int] = Pool(encoder, SIZE)
        for way in ways:
            for _ in pool.add(range(way.batch.size), way.batch):
                pass
        for _ in pool.flush():
            pass

    return run


def longer(ways: Sequence[Way], depth: float) -> float:
    """Tokens x layers that were run, over those of every example at the mean depth."""
    tokens = sum(int(way.batch.lengths_B.sum()) for way in ways)
    run = sum(int((way.batch.lengths_B * way.depth_B).sum()) for way in ways)
    return run / (tokens * depth)


def measured(folder: str, budget: Budget, examples: int) -> tuple[str, Lost]:
    run = Run.open(folder)
    encoder, _ = load_model(run.folder / "model")
    body = prepacked(Fitter(run, encoder, fit_reduction=False).on(budget))
    split = run.data().split("validation")
    rows = np.random.default_rng(0).permutation(len(split))[:examples]
    ways = [Way(body, split.batch(rows[i : i + SIZE])) for i in range(0, len(rows), SIZE)]
    last = encoder.shape.num_layers
    with undisturbed(threads=1):
        depth = float(torch.cat([way.depth_B for way in ways]).double().mean())
        runs: dict[Any, Any] = {
            "full depth": whole(body.replacing(exit=Never())),
            "exits": whole(body),
            "exits, pooled": pooled(body),
            "layers alone": each_alone(Way.layers_alone),
            "layers and compaction": each_alone(Way.compacted),
        }
        for layer in {int(np.floor(depth)), int(np.ceil(depth))}:
            rule = Never() if layer == last else Fixed(layer)
            runs[layer] = whole(body.replacing(exit=rule))
        inputs = {name: (each, [ways]) for name, each in runs.items()}
        time_interleaved(inputs, repeats=1, block=1)  # every kernel is made once before
        took = time_interleaved(inputs, REPEATS, block=1)
    title = f"{run.name}: budget {budget}, mean depth {depth:.2f} of {last}, {len(rows)} examples"
    return title, Lost(
        {name: times[:, 0] for name, times in took.items()}, depth, longer(ways, depth)
    )


def main(*given: str) -> None:
    settings = dict(each.split("=", 1) for each in given if "=" in each)
    folders = [each for each in given if "=" not in each]
    if not folders:
        raise ConfigError("give a run's folder: python -m experiments.budgets.batches RUN...")
    keep_kernels()
    for folder in folders:
        budget = Budget.parse(settings.get("budget", 0.4))
        title, lost = measured(folder, budget, int(settings.get("examples", 640)))
        print(f"{title}\n")
        print(markdown(DataFrame(lost.times())), "\n")
        print(markdown(DataFrame(lost.parts())), "\n")


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
