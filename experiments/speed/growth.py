"""How time and memory grow with a text's length, and with the batch, the layers run and retention:
an encoder of random weights with dense attention, with a window, and pruned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.profiler import ProfilerActivity, profile

from eat_lightning.config import Settings
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import build
from eat_lightning.record.timing import time_interleaved
from eat_lightning.report.result import Result
from eat_lightning.runs.run import provenance
from eat_lightning.validation import Count

from .candidates import Preset

DENSE, WINDOW, PRUNED = "dense", "window", "window, pruned"


class GrowthSettings(Settings):
    """Settings of `growth`. attentions: others beside dense and the window. at: the length of the
    axes "layers run" and "retention"; the axis "batch" has the shortest length."""

    num_layers: Count = 6
    width: Count = 384
    window: Count = 32
    attentions: list[str] = Field([])
    ratio: float = 0.3
    lengths: list[Count] = Field([512, 1024, 2048, 4096, 8192, 16384])
    dense_up_to: Count = 8192
    at: Count = 4096
    batches: list[Count] = Field([1, 2, 4, 8, 16, 32])
    ratios: list[float] = Field([0.0, 0.15, 0.3, 0.5, 0.7])
    repeats: Count = 3
    threads: Count = 1
    seed: int = 0
    to: str = "outputs/speed"
    force: bool = False


@dataclass
class Point:
    """`size` of an axis, and the encoder and the texts that make it."""

    axis: str
    candidate: str
    size: float
    length: int
    batch: int
    encoder: AdaptiveEncoder

    def text(self) -> Batch:
        """Random words."""
        random, size = np.random.default_rng(self.batch * self.length), self.encoder.shape
        rows = random.integers(1, size.vocab_size, (self.batch, self.length))
        return Batch.from_lists(rows.tolist())

    def passed(self) -> Point:
        """The point after a pass; on the axis of retention its size is what that pass shows."""
        trace = self.encoder(self.text())
        tokens_LB = trace.tokens_LB.numpy()[: int(trace.depth_B.max())]
        retention = float((tokens_LB / tokens_LB[0]).mean())
        return replace(self, size=retention if self.axis == "retention" else self.size)


def axes(plan: GrowthSettings) -> Iterator[list[Point]]:
    """The points of each axis; those of one take turns."""
    encoder, short, last = body(plan), min(plan.lengths), plan.num_layers
    yield [
        Point("length", name, length, length, 1, seen_as(encoder, name, plan))
        for length in plan.lengths
        for name in (DENSE, WINDOW, PRUNED, *plan.attentions)
        if length <= plan.dense_up_to or name != DENSE
    ]
    window = seen_as(encoder, WINDOW, plan)
    yield [Point("batch", WINDOW, size, short, size, window) for size in plan.batches]
    leaving: list[Any] = [*(Preset(layer, True) for layer in range(1, last)), Never()]
    yield [
        Point("layers run", WINDOW, layer, plan.at, 1, window.replacing(exit=exit))
        for layer, exit in enumerate(leaving, 1)
    ]
    pruned = {ratio: window.replacing(reduction=pruning(plan, ratio)) for ratio in plan.ratios}
    yield [Point("retention", WINDOW, ratio, plan.at, 1, made) for ratio, made in pruned.items()]


def body(plan: GrowthSettings) -> AdaptiveEncoder:
    """An encoder with a head at each layer. With BERT's matrices of 0.02 every attention is near
    the mean, and with equal gammas all norms tie."""
    torch.manual_seed(plan.seed)
    sizes: dict[str, Any] = {"hidden_size": plan.width, "intermediate_size": 4 * plan.width}
    sizes |= {"num_layers": plan.num_layers, "num_heads": 12, "vocab_size": 30522}
    head = {"layers": list(range(1, plan.num_layers + 1))}
    shape = Shape(**sizes, max_positions=max(plan.lengths))
    encoder = AdaptiveEncoder(shape, 2, Dense(), Keep(), Never(), head)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.2 * torch.randn_like(weight) * ("norm" in name))
            else:
                weight.normal_(std=0.05)
    return encoder.eval()


def seen_as(encoder: AdaptiveEncoder, name: str, plan: GrowthSettings) -> AdaptiveEncoder:
    """The same weights by a candidate's name."""
    windowed = name in (WINDOW, PRUNED)
    attention: Any = Longformer(plan.window) if windowed else build("attention", {"kind": name})
    reduction = pruning(plan, plan.ratio) if name == PRUNED else Keep()
    return encoder.replacing(attention=attention, reduction=reduction)


def pruning(plan: GrowthSettings, ratio: float) -> NormTopK:
    """After a third and two thirds of the layers, as after 2 and 4 of the paper's 6."""
    return NormTopK(ratio, [plan.num_layers // 3, 2 * plan.num_layers // 3])


def measured(points: Sequence[Point], plan: GrowthSettings) -> Iterator[Result]:
    """A result for each point, whose times take turns. Within `latency.undisturbed`."""
    points = [point.passed() for point in points]  # and warmed up
    settings = {i: (point.encoder, [point.text()]) for i, point in enumerate(points)}
    took = time_interleaved(settings, plan.repeats, block=1)
    for i, point in enumerate(points):
        encoder, (text,) = settings[i]
        what = {"layers": plan.num_layers, "axis": point.axis, "candidate": point.candidate}
        what |= {"size": point.size}
        values = {"ms": took[i][:, 0].tolist(), "peak_bytes": peak_bytes(encoder, text)}
        where = {"batch": point.batch, "length": point.length, "width": plan.width}
        where |= {"window": plan.window, "ratio": plan.ratio, "threads": plan.threads}
        yield Result(what, values, where | provenance())


def peak_bytes(run: Callable[[Any], object], given: Any) -> int:
    """The most bytes of tensors alive at once during a pass, above what was there before, as
    torch's allocator counts them: the same on every machine that runs the same operators, and
    without what a matrix library packs for itself."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would note each start on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        run(given)
    results: Any = found.profiler.kineto_results  # type: ignore[union-attr]
    changes = [e for e in results.events() if e.name() == "[memory]"]
    changes.sort(key=lambda e: e.start_ns())
    return max(accumulate((e.nbytes() for e in changes), initial=0))
