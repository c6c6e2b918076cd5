"""Which points are measured, and how each is run.

Shapes: N packed tokens, R repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from eat_lightning.bench.scaling.subjects import (
    DENSE,
    DENSE_PRODUCT,
    PRUNED,
    WINDOW,
    WINDOW_PRODUCT,
    pruning,
    subject,
    text,
)
from eat_lightning.bench.speed.contestants import Told
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.encoder import AdaptiveEncoder, Trace, with_slots
from eat_lightning.model.packed import Batch, Layout


@dataclass
class Point:
    """`size` of an axis, and the encoder and the texts that make it; `encoder` None: the attention
    product alone. `attention` gathers its milliseconds, a pass each."""

    axis: str
    contestant: str
    size: float
    length: int
    batch: int
    encoder: AdaptiveEncoder
    attention: list[float] = field(default_factory=list)

    @property
    def name(self) -> tuple[str, str, float]:
        return self.axis, self.contestant, self.size

    @property
    def is_product(self) -> bool:
        return self.contestant in (DENSE_PRODUCT, WINDOW_PRODUCT)

    def given(self) -> Any:
        """What `run` takes."""
        shape = self.encoder.shape
        if not self.is_product:
            return text([self.length] * self.batch, shape.vocab_size)
        heads = shape.num_heads
        return torch.randn(self.length, 3, heads, shape.hidden_size // heads)

    def runner(self) -> Callable[[Any], Any]:
        return self.product if self.is_product else self.run

    def run(self, batch: Batch) -> Trace:
        clock: Any = self.encoder.attention
        clock.milliseconds = 0.0
        trace = self.encoder(batch)
        self.attention.append(clock.milliseconds)
        return trace

    def product(self, qkv_N3HK: torch.Tensor) -> None:
        """Of each layer in turn: what depends on lengths alone is made once, as in the encoder."""
        layout = Layout(torch.tensor([self.length]), torch.device("cpu"))
        clock: Any = self.encoder.attention
        for layer in range(1, self.encoder.shape.num_layers + 1):
            clock.kernel(layout, layer)(qkv_N3HK, layout, 0.0)


def rounds(encoder: AdaptiveEncoder, config: dict[str, Any]) -> Iterator[list[Point]]:
    """The points of each axis; those of one take turns."""
    yield lengths(encoder, config)
    yield batches(encoder, config)
    yield depths(encoder, config)
    yield heads(encoder, config)
    yield ratios(encoder, config)


def lengths(encoder: AdaptiveEncoder, config: dict[str, Any]) -> list[Point]:
    points = []
    for length in config["lengths"]:
        short = length <= config["dense_up_to"]
        for name in (DENSE, WINDOW, PRUNED, DENSE_PRODUCT, WINDOW_PRODUCT):
            if short or name not in (DENSE, DENSE_PRODUCT):
                body = named(encoder, name, config)
                points.append(Point("length", name, length, length, 1, body))
    return points


def batches(encoder: AdaptiveEncoder, config: dict[str, Any]) -> list[Point]:
    length = min(config["lengths"])
    return [
        Point("batch", WINDOW, batch, length, batch, named(encoder, WINDOW, config))
        for batch in config["batches"]
    ]


def depths(encoder: AdaptiveEncoder, config: dict[str, Any]) -> list[Point]:
    """All leave at one layer, or none before the last."""
    points, last = [], encoder.shape.num_layers
    for layer in range(1, last + 1):
        body = named(encoder, WINDOW, config)
        if layer < last:
            body = with_slots(body, exit=all_leave_at(layer))
        points.append(Point("layers run", WINDOW, layer, config["at"], 1, body))
    return points


def all_leave_at(layer: int) -> Told:
    rule = Told(layer)
    rule.leaves_B = torch.ones(1, dtype=torch.bool)
    return rule


def heads(encoder: AdaptiveEncoder, config: dict[str, Any]) -> list[Point]:
    """So many are asked, the last one's among them, and nobody is sure: short texts, where a head
    weighs most."""
    length, last, points = min(config["lengths"]), encoder.shape.num_layers, []
    for count in range(1, last + 1):
        body = named(encoder, WINDOW, config)
        if count > 1:
            rule = Confidence(tau=1.0, layers=list(range(last - count + 1, last)))
            body = with_slots(body, exit=rule)
        points.append(Point("heads", WINDOW, count, length, 1, body))
    return points


def ratios(encoder: AdaptiveEncoder, config: dict[str, Any]) -> list[Point]:
    """The size of a point is what its passes will show; until then, its ratio."""
    points = []
    for ratio in config["ratios"]:
        shorter = pruning(encoder.shape, ratio)
        body = with_slots(named(encoder, WINDOW, config), reduction=shorter)
        points.append(Point("retention", WINDOW, ratio, config["at"], 1, body))
    return points


def named(encoder: AdaptiveEncoder, name: str, config: dict[str, Any]) -> AdaptiveEncoder:
    alike = {DENSE_PRODUCT: DENSE, WINDOW_PRODUCT: WINDOW}
    return subject(encoder, alike.get(name, name), config["window"], config["ratio"])
