"""Candidates of the scaling study: an encoder of random weights, seen densely, by the window, and
pruned, and the attention product alone, at the points of each axis.

Shapes: N packed tokens, H heads, K head width, L length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.contracts import Attention, Kernel, Where
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch, Layout
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import build
from eat_lightning.model.trace import Trace
from experiments.bench.candidates import NUM_LABELS, Preset
from experiments.bench.plan import ScalingSettings

DENSE, WINDOW, PRUNED = "dense", "window", "window, pruned"
PRODUCT = " product"  # behind a candidate's name: its attention product alone
DENSE_PRODUCT, WINDOW_PRODUCT = DENSE + PRODUCT, WINDOW + PRODUCT


class Clocked(Attention):
    """A pattern whose product is timed within the encoder, which calls it as it would anyway.

    milliseconds: since they were last set to 0."""

    def __init__(self, pattern: Attention):
        self.pattern, self.milliseconds = pattern, 0.0
        self.approximate, self.wants = pattern.approximate, pattern.wants

    def sees(self, q: Where, k: Where) -> Tensor:
        return self.pattern.sees(q, k)

    def sees_all(self, longest: int, layer: int) -> bool:
        return self.pattern.sees_all(longest, layer)

    def flops(self, shape: Any, layer: int, tokens_B: np.ndarray) -> np.ndarray | None:
        return self.pattern.flops(shape, layer, tokens_B)

    def kernel(self, layout: Layout, layer: int) -> Kernel:
        product = self.pattern.kernel(layout, layer) or masked(self.pattern, layer)

        def timed(qkv_N3HK: Tensor, layout: Layout, dropout: float, **rows: Any) -> Tensor:
            start = perf_counter()
            mixed_NHK = product(qkv_N3HK, layout, dropout, **rows)
            self.milliseconds += (perf_counter() - start) * 1e3
            return mixed_NHK

        return timed


def masked(pattern: Attention, layer: int) -> Kernel:
    """The product of the whole matrix, for examples of one length; without a mask where the pattern
    hides nothing."""

    def product(qkv_N3HK: Tensor, layout: Layout, dropout: float) -> Tensor:
        assert layout.even
        mask = None
        if not pattern.sees_all(layout.longest, layer):
            mask = layout.cached(("masked", layer), lambda: seen(pattern, layout.longest, layer))
        q, k, v = layout.pad(qkv_N3HK).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return layout.unpad(mixed.transpose(1, 2))

    return product


def seen(pattern: Attention, length: int, layer: int) -> Bool[Tensor, "l l"]:
    place, whole = torch.arange(length), torch.tensor(length)
    q = Where(place[:, None], place[:, None], whole, layer)
    return pattern.sees(q, Where(place[None], place[None], whole, layer))


def body(shape: Shape, seed: int) -> AdaptiveEncoder:
    """Make an encoder with a head at each layer. Matrices of 0.05 and unequal gammas: with BERT's
    0.02 every attention is near the mean, and with equal gammas all norms tie."""
    torch.manual_seed(seed)
    nothing: Any = Keep()
    head = {"layers": list(range(1, shape.num_layers + 1))}
    encoder = AdaptiveEncoder(shape, NUM_LABELS, Dense(), nothing, Never(), head)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.2 * torch.randn_like(weight) * ("norm" in name))
            else:
                weight.normal_(std=0.05)
    return encoder.eval()


def seen_as(encoder: AdaptiveEncoder, name: str, plan: ScalingSettings) -> AdaptiveEncoder:
    """The same weights by a candidate's name, with a clock at the attention product."""
    kind = name.removesuffix(PRODUCT)
    windowed = kind in (WINDOW, PRUNED)
    pattern: Any = Longformer(plan.window) if windowed else build("attention", {"kind": kind})
    reduction = pruning(encoder.shape, plan.ratio) if name == PRUNED else Keep()
    seen = encoder.replacing(attention=pattern, reduction=reduction, exit=Never())
    return seen.replacing(attention=Clocked(seen.attention))  # which has its parameters by now


def pruning(shape: Shape, ratio: float) -> NormTopK:
    """After a third and two thirds of the layers, as after 2 and 4 of the paper's 6."""
    return NormTopK(ratio, [shape.num_layers // 3, 2 * shape.num_layers // 3])


def text(lengths: Sequence[int], vocab_size: int) -> Batch:
    """Examples of random words."""
    random = np.random.default_rng(sum(lengths))
    return Batch.from_lists([random.integers(1, vocab_size, n).tolist() for n in lengths])


@dataclass
class Point:
    """`size` of an axis, and the encoder and the texts that make it. `attention` gathers its
    milliseconds, a pass each."""

    axis: str
    candidate: str
    size: float
    length: int
    batch: int
    encoder: AdaptiveEncoder
    attention: list[float] = field(default_factory=list)

    @property
    def name(self) -> tuple[str, str, float]:
        return self.axis, self.candidate, self.size

    @property
    def is_product(self) -> bool:
        """True where it is the attention product alone."""
        return self.candidate.endswith(PRODUCT)

    @property
    def runner(self) -> Callable[[Any], Any]:
        return self.product if self.is_product else self.run

    def given(self) -> Any:
        """Return the arguments of `runner`."""
        shape = self.encoder.shape
        if not self.is_product:
            return text([self.length] * self.batch, shape.vocab_size)
        return torch.randn(self.length, 3, shape.num_heads, shape.width_of_head)

    def run(self, batch: Batch) -> Trace:
        clock: Any = self.encoder.attention
        clock.milliseconds = 0.0
        trace = self.encoder(batch)
        self.attention.append(clock.milliseconds)
        return trace

    def product(self, qkv_N3HK: Tensor) -> None:
        """Each layer's in turn: what depends on lengths alone is made once, as in the encoder."""
        layout = Layout(torch.tensor([self.length]), torch.device("cpu"))
        clock: Any = self.encoder.attention
        for layer in range(1, self.encoder.shape.num_layers + 1):
            clock.kernel(layout, layer)(qkv_N3HK, layout, 0.0)


def raced(plan: ScalingSettings) -> list[str]:
    """Candidates at each length: encoders, then their products alone."""
    names = [DENSE, WINDOW, *plan.attentions]
    return [DENSE, WINDOW, PRUNED, *plan.attentions, *(name + PRODUCT for name in names)]


def rounds(encoder: AdaptiveEncoder, plan: ScalingSettings) -> Iterator[list[Point]]:
    """The points of each axis; those of one take turns."""
    short, last = min(plan.lengths), encoder.shape.num_layers
    window = seen_as(encoder, WINDOW, plan)

    def again(**slots: Any) -> AdaptiveEncoder:
        """The windowed encoder with a clock of its own."""
        return window.replacing(attention=Clocked(Longformer(plan.window)), **slots)

    yield [
        Point("length", name, length, length, 1, seen_as(encoder, name, plan))
        for length in plan.lengths
        for name in raced(plan)
        if length <= plan.dense_up_to or name not in (DENSE, DENSE_PRODUCT)
    ]
    yield [Point("batch", WINDOW, batch, short, batch, again()) for batch in plan.batches]
    leaving: list[Any] = [*(Preset(layer, True) for layer in range(1, last)), Never()]
    yield [
        Point("layers run", WINDOW, layer, plan.at, 1, again(exit=exit))
        for layer, exit in enumerate(leaving, 1)
    ]
    # So many heads are asked, the last one's among them, and nobody is sure: on short texts, where
    # a head weighs most.
    asking = [Never(), *(Confidence(1.0, [*range(k, last)]) for k in range(last - 1, 0, -1))]
    yield [
        Point("heads", WINDOW, count, short, 1, again(exit=exit))
        for count, exit in enumerate(asking, 1)
    ]
    # The size of these is what their passes will show; until then, their ratio.
    pruned = {ratio: again(reduction=pruning(encoder.shape, ratio)) for ratio in plan.ratios}
    yield [Point("retention", WINDOW, ratio, plan.at, 1, seen) for ratio, seen in pruned.items()]
