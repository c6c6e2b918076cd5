"""What the machine can do: matrix products at the shapes of an encoder's layer, and reading memory.

The roofline (Williams et al. 2009): no program is faster than FLOPs / rate or bytes / bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
import torch.nn.functional as F

from eat_lightning.encoder import Shape

READ_BYTES = 1 << 28  # far more than any cache


@dataclass(frozen=True)
class Ceilings:
    """gflops: billions of operations a second; gbytes: billions of bytes read a second."""

    gflops: float
    gbytes: float

    def limit_ms(self, flops: float, num_bytes: float) -> float:
        """The least time for so much work."""
        return max(flops / self.gflops, num_bytes / self.gbytes) / 1e6


def ceilings(shape: Shape, dtype: torch.dtype, rows: int = 1024, repeats: int = 5) -> Ceilings:
    """Of `rows` packed tokens; the best of the repeats, since nothing makes a machine too fast."""
    width, inner = shape.hidden_size, shape.intermediate_size
    sizes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    x = {k: torch.randn(rows, k).to(dtype) for k in {width, inner}}
    weights = [(k, torch.randn(n, k).to(dtype)) for k, n in sizes]
    seconds = best(lambda: [F.linear(x[k], weight) for k, weight in weights], repeats)
    flops = sum(2 * rows * k * n for k, n in sizes)
    block = torch.ones(READ_BYTES // 4)
    return Ceilings(flops / seconds / 1e9, READ_BYTES / best(block.sum, repeats) / 1e9)


def best(run: Callable[[], object], repeats: int) -> float:
    run()
    took = []
    for _ in range(repeats):
        start = perf_counter()
        run()
        took.append(perf_counter() - start)
    return min(took)
