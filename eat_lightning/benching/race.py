"""All contestants on the same examples, by turns, and what their times come to.

Shapes: B examples of a batch, R repeats, I batches, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from eat_lightning.benching.ceilings import Ceilings
from eat_lightning.benching.contestants import Contestant, Work, work
from eat_lightning.benching.rows import BenchRow
from eat_lightning.encoder import AdaptiveEncoder, Shape, Trace
from eat_lightning.flops import flops
from eat_lightning.latency import BLOCK, chunks, time_interleaved

ORDERS = ("as they come", "sorted")


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


def heats(
    lengths: Mapping[str, np.ndarray],
    batches: Sequence[int],
    examples: int,
    leaving: float,
    vocab_size: int,
    seed: int,
) -> list[Heat]:
    """Batches of random examples of each task; exactly the share `leaving` of them is easy. At
    batch 1, or of a single batch, there is no order to speak of."""
    found = []
    for task, of_task in lengths.items():
        for batch in batches:
            random = np.random.default_rng(seed)
            size = max(examples, batch) // batch * batch
            chosen = random.choice(of_task, size, replace=size > len(of_task))
            easy = random.permutation(np.arange(size) < round(leaving * size))
            for order in ORDERS if 1 < batch < size else ORDERS[:1]:
                by = np.arange(size) if order == ORDERS[0] else np.argsort(-chosen, kind="stable")
                works = [work(chosen[i], easy[i], vocab_size) for i in chunks(by, batch)]
                found.append(Heat(task, batch, order, works))
    return found


def race(contestants: Sequence[Contestant], heat: Heat, repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of an example (R) of each contestant; within `latency.undisturbed`."""
    settings = {c.name: (c.run, [c.ready(given) for given in heat.works]) for c in contestants}
    for run, inputs in settings.values():
        run(inputs[0])
    block = BLOCK if heat.batch == 1 else 1
    took = time_interleaved(settings, repeats, block)
    return {name: took_RI.sum(1) / heat.num_examples for name, took_RI in took.items()}


def rows_of(
    contestants: Sequence[Contestant],
    heat: Heat,
    took: Mapping[str, np.ndarray],
    ceilings: Ceilings,
    **how: Any,
) -> list[BenchRow]:
    """how: dtype, threads, machine and the like."""
    spent = {c.name: spending(c.encoder, c.run, heat) for c in contestants if c.encoder}
    element = 2 if how["dtype"] == "bf16" else 4
    rows = []
    for c in contestants:
        ms_R, own = took[c.name], spent[c.name if c.encoder else c.static]
        ms, ratio = float(ms_R.mean()), own.flops / spent[c.static].flops
        read = own.layers_read * layer_weights(c.shape) * element / heat.num_examples
        limit_ms = ceilings.limit_ms(own.flops, read)
        speed_up = faster("speed_up", took[c.static], ms_R)
        row = BenchRow(
            contestant=c.name,
            task=heat.task,
            batch=heat.batch,
            order=heat.order,
            width=c.shape.hidden_size,
            num_layers=c.shape.num_layers,
            num_examples=heat.num_examples,
            repeats=len(ms_R),
            mean_length=float(np.concatenate(heat.lengths).mean()),
            padding_factor=heat.padding_factor,
            **{"ms": ms, "ms_low": float(ms_R.min()), "ms_high": float(ms_R.max())},
            flops=own.flops,
            depth=own.depth,
            flops_ratio=ratio,
            conversion=speed_up["speed_up"] * ratio,
            **speed_up,
            **faster("over_bert", took["HF BERT"], ms_R),
            **faster("over_distilbert", took["HF DistilBERT"], ms_R),
            gflops_ceiling=ceilings.gflops,
            gbytes_ceiling=ceilings.gbytes,
            limit_ms=limit_ms,
            distance=ms / limit_ms,
            peak_share=own.flops / ms / 1e6 / ceilings.gflops,
            **how,
        )
        rows.append(row)
    return rows


def faster(name: str, before_R: np.ndarray, after_R: np.ndarray) -> dict[str, float]:
    """The ratio of mean times, and the lowest and the highest of the repeats."""
    factor_R = before_R / after_R
    return {
        name: float(before_R.mean() / after_R.mean()),
        f"{name}_low": float(factor_R.min()),
        f"{name}_high": float(factor_R.max()),
    }


@dataclass(frozen=True)
class Spent:
    """flops and depth: means over examples; layers_read: layers run, summed over batches."""

    flops: float
    depth: float
    layers_read: int


def spending(encoder: AdaptiveEncoder, run: Callable[[Work], Trace], heat: Heat) -> Spent:
    """Counted on the shapes of a pass."""
    with torch.inference_mode():
        traces = [run(given) for given in heat.works]
    depth_B = np.concatenate([trace.depth_B.numpy() for trace in traces])
    flops_B = [
        flops(encoder, encoder.exit, trace.tokens_LB.numpy(), trace.depth_B.numpy())
        for trace in traces
    ]
    read = sum(int(trace.depth_B.max()) for trace in traces)
    return Spent(float(np.concatenate(flops_B).mean()), float(depth_B.mean()), read)


def layer_weights(shape: Shape) -> int:
    """Elements of a layer's matrices."""
    return shape.hidden_size * (4 * shape.hidden_size + 2 * shape.intermediate_size)
