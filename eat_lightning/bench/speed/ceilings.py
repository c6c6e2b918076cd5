"""What the machine can do: matrix products at the shapes of an encoder's layer, and reading memory.

The roofline (Williams et al. 2009): no program is faster than FLOPs / rate or bytes / bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eat_lightning.infer.prepacked import PrepackedLinear
from eat_lightning.model.layer import Shape

READ_BYTES = 1 << 28  # far more than any cache
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Ceilings:
    """gflops: billions of operations a second; gbytes: billions of bytes read a second."""

    gflops: float
    gbytes: float

    def limit_ms(self, flops: float, num_bytes: float) -> float:
        """The least time for so much work."""
        return max(flops / self.gflops, num_bytes / self.gbytes) / 1e6

    def __str__(self) -> str:
        return f"{self.gflops:.0f} GFLOP/s, {self.gbytes:.1f} GB/s"


def ceilings(shape: Shape, dtype: str, rows: int = 1024, repeats: int = 5) -> Ceilings:
    """Rates on `rows` packed tokens; the best of the repeats, and of weights as they are and
    prepacked, since nothing makes a machine too fast."""
    width, inner = shape.hidden_size, shape.intermediate_size
    sizes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    x = {k: matrix(rows, k, dtype) for k in {width, inner}}
    weights = [(x[k], matrix(n, k, dtype)) for k, n in sizes]
    if dtype == "int8":
        product: Any = torch.ops.aten._int_mm
        seconds = best(lambda: [product(a, weight.T) for a, weight in weights], repeats)
    else:
        seconds = best(lambda: [F.linear(a, weight) for a, weight in weights], repeats)
        if torch.backends.mkldnn.is_available():
            maps = [(a, prepacked_linear(weight)) for a, weight in weights]
            seconds = min(seconds, best(lambda: [linear(a) for a, linear in maps], repeats))
    flops = sum(2 * rows * k * n for k, n in sizes)
    block = torch.ones(READ_BYTES // 4)
    return Ceilings(flops / seconds / 1e9, READ_BYTES / best(block.sum, repeats) / 1e9)


def prepacked_linear(weight: Tensor) -> PrepackedLinear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return PrepackedLinear(linear)


def matrix(rows: int, columns: int, dtype: str) -> Tensor:
    if dtype == "int8":
        return torch.randint(-128, 128, (rows, columns), dtype=torch.int8)
    return torch.randn(rows, columns).to(DTYPES[dtype])


def best(run: Callable[[], object], repeats: int) -> float:
    run()
    took = []
    for _ in range(repeats):
        start = perf_counter()
        run()
        took.append(perf_counter() - start)
    return min(took)
