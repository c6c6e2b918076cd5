"""One point of growth: the schema, its writer and its reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.runs.run import write_text

AXES = ("length", "batch", "layers run", "heads", "retention")


@dataclass(frozen=True)
class GrowthRow:
    """What one contestant took where `axis` has the value `size`; all of a file are of one call.

    axis: length (tokens of each example), batch (examples), layers run, heads (evaluated on the
    way), retention (tokens entering a layer / tokens, mean over the layers run). ms_R: a pass, once
    in each repeat; attention_R: of it, in the attention product (None where that is all there is).
    peak_bytes: tensors alive at once during a pass, weights and ids apart, as torch's allocator
    counts them; resident_bytes: pages of the process at their most, above those before (a first
    pass). flops: counted on the shapes that ran. difference: from the masked product, the
    largest of any element of the last layer's vectors, where a mask of length x length was tried;
    kept_alike: share of the last layer's tokens that both kept.
    """

    axis: str
    contestant: str
    size: float
    length: int
    batch: int
    layers_run: int
    heads: int
    retention: float
    ms_R: tuple[float, ...]
    attention_R: tuple[float, ...] | None
    peak_bytes: int
    resident_bytes: int | None
    flops: float
    difference: float | None = None
    kept_alike: float | None = None
    width: int = 0
    num_layers: int = 0
    window: int = 0
    ratio: float = 0.0
    dtype: str = "fp32"
    threads: int = 1
    weights: str = "random"
    machine: str = ""
    commit: str = ""
    version: str = ""
    session: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))
        if self.axis not in AXES:
            raise ValueError(f"axis must be one of {', '.join(AXES)}, got {self.axis!r}")
        positive = {"size": self.size, "flops": self.flops, "peak_bytes": self.peak_bytes}
        positive |= {"ms_R": min(self.ms_R, default=0), "retention": self.retention}
        for name, value in positive.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be in (0, inf), got {value!r}")

    @property
    def ms(self) -> float:
        return median(self.ms_R)

    @property
    def attention_ms(self) -> float | None:
        return None if self.attention_R is None else median(self.attention_R)


@dataclass(frozen=True)
class OperatorRow:
    """Milliseconds that a pass of `contestant` at `length` tokens spent in one of torch's
    operators, itself alone."""

    operator: str
    contestant: str
    length: int
    ms: float


def read(path: Path) -> list[GrowthRow]:
    """ConfigError names a damaged line."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(GrowthRow(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}: not a row ({error}); move it away") from None
    return rows


def write(path: Path, rows: Sequence[Any]) -> None:
    """In place of what was there: a fit is over points that took turns."""
    write_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))
