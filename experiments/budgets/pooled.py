"""Batches beside fixed depth: do survivors go faster where they wait for each other?

    python -m experiments.budgets.pooled RUN [budget=0.4] [examples=640]    # data: EAT_DATA

Where an exit leaves four of 32 examples, deep layers run small batches. `score` and `predict
pool=true` let survivors of many batches go on together (`infer.depth_batching.Pool`). Batches of 32
as they come, prepacked, fp32, one thread; settings take turns, five repeats. Fixed depth: time is
linear between the two layers beside the mean depth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pandas import DataFrame

from eat_lightning.bench.tables import markdown
from eat_lightning.infer.depth_batching import Pool
from eat_lightning.infer.latency import keep_kernels, time_interleaved, undisturbed
from eat_lightning.infer.prepacked import prepacked
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.model.packed import Batch
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.operating_point import Budget

SIZE, REPEATS = 32, 5


def each_alone(encoder: AdaptiveEncoder) -> Callable[[Sequence[Batch]], None]:
    """Every batch to its end before the next."""

    def run(batches: Sequence[Batch]) -> None:
        for batch in batches:
            encoder(batch)

    return run


def pooled(encoder: AdaptiveEncoder) -> Callable[[Sequence[Batch]], None]:
    """Survivors wait at each exit until they fill a batch."""

    def run(batches: Sequence[Batch]) -> None:
        pool: Pool[int] = Pool(encoder, SIZE)
        for batch in batches:
            for _ in pool.add(range(batch.size), batch):
                pass
        for _ in pool.flush():
            pass

    return run


def ratios(rate: dict[Any, np.ndarray], depth: float) -> list[dict[str, str]]:
    """Lines of the table: medians of the repeats, with the least and the most."""
    below, above = int(np.floor(depth)), int(np.ceil(depth))
    share = depth - below
    fixed_R = 1 / ((1 - share) / rate[below] + share / rate[above])
    return [
        {
            "batches of 32": name,
            "examples/s": f"{np.median(rate[name]):.1f}",
            "over full depth": spread(rate[name] / rate["full depth"]),
            "over fixed depth": spread(rate[name] / fixed_R),
        }
        for name in rate
        if isinstance(name, str)
    ]


def spread(of_R: np.ndarray) -> str:
    return f"{np.median(of_R):.2f} ({of_R.min():.2f} to {of_R.max():.2f})"


def main(folder: str, *settings: str) -> None:
    given = dict(setting.split("=", 1) for setting in settings)
    keep_kernels()
    run = Run.open(folder)
    encoder, _ = load_model(run.folder / "model")
    budget = Budget.parse(given.get("budget", 0.4))
    body = prepacked(Fitter(run, encoder, fit_reduction=False).on(budget))
    split = run.data().split("validation")
    rows = np.random.default_rng(0).permutation(len(split))[: int(given.get("examples", 640))]
    batches = [split.batch(rows[i : i + SIZE]) for i in range(0, len(rows), SIZE)]
    with torch.inference_mode():
        depth = float(np.mean([body(batch).depth_B.float().mean() for batch in batches]))
    runs: dict[Any, Any] = {
        "full depth": each_alone(with_slots(body, exit=Never())),
        "exits": each_alone(body),
        "exits, pooled": pooled(body),
    }
    last = encoder.shape.num_layers
    for layer in {int(np.floor(depth)), int(np.ceil(depth))}:
        runs[layer] = each_alone(with_slots(body, exit=Never() if layer == last else Fixed(layer)))
    inputs = {name: (each, [batches]) for name, each in runs.items()}
    with undisturbed(threads=1):
        time_interleaved(inputs, repeats=1, block=1)  # every kernel is made once before
        took = time_interleaved(inputs, REPEATS, block=1)
    rate = {name: 1000 * len(rows) / took_RI[:, 0] for name, took_RI in took.items()}
    print(f"{run.name}: budget {budget}, mean depth {depth:.2f} of {last}, {len(rows)} examples\n")
    print(markdown(DataFrame(ratios(rate, depth))))


if __name__ == "__main__":
    main(*sys.argv[1:])
