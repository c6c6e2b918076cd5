"""Limits of the machine: matrix products at the shapes of an encoder's layer, and reading memory.

The roofline (Williams et al. 2009): no program is faster than FLOPs / rate or bytes / bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from timeit import repeat
from typing import Any

import torch
from torch import Tensor, nn

from eat_lightning.infer.prepacked import PrepackedLinear
from eat_lightning.model.shape import Shape

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
    multiply: Any = torch.ops.aten._int_mm
    if dtype == "int8":
        kinds = [[partial(multiply, mat2=matrix(n, k, dtype).T) for k, n in sizes]]
    else:
        plain = [nn.Linear(k, n, bias=False, dtype=DTYPES[dtype]) for k, n in sizes]
        packs = torch.backends.mkldnn.is_available()
        kinds = [plain, *([list(map(PrepackedLinear, plain))] if packs else [])]
    given = [x[k] for k, _ in sizes]
    seconds = min(
        best(lambda maps=maps: [f(a) for f, a in zip(maps, given, strict=True)], repeats)
        for maps in kinds
    )
    flops = sum(2 * rows * k * n for k, n in sizes)
    block = torch.ones(READ_BYTES // 4)
    return Ceilings(flops / seconds / 1e9, READ_BYTES / best(block.sum, repeats) / 1e9)


def matrix(rows: int, columns: int, dtype: str) -> Tensor:
    if dtype == "int8":
        return torch.randint(-128, 128, (rows, columns), dtype=torch.int8)
    return torch.randn(rows, columns).to(DTYPES[dtype])


def best(run: Callable[[], object], repeats: int) -> float:
    run()
    return min(repeat(run, number=1, repeat=repeats))
