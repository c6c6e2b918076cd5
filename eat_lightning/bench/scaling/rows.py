"""One measured point of the scaling bench: the schema of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from statistics import median

AXES = ("length", "batch", "layers run", "heads", "retention")


@dataclass(frozen=True)
class ScalingRow:
    """What one candidate took where `axis` has the value `size`; all of a file are of one call.

    axis: length (tokens of each example), batch (examples), layers run, heads (evaluated on the
    way), retention (tokens entering a layer / tokens, mean over the layers run). ms_R: a pass, once
    in each repeat; attention_R: of it, in the attention product (None where that is all there is).
    peak_bytes: tensors alive at once during a pass, weights and ids apart, as torch's allocator
    counts them. flops: counted on the shapes that ran. operators: milliseconds of each of torch's
    operators itself in one profiled pass, of those that took 1 % or more.
    """

    axis: str
    candidate: str
    size: float
    length: int
    batch: int
    layers_run: int
    heads: int
    retention: float
    ms_R: tuple[float, ...]
    attention_R: tuple[float, ...] | None
    peak_bytes: int
    flops: float
    operators: dict[str, float] = field(default_factory=dict)
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
        for name in fields(self):
            if isinstance(value := getattr(self, name.name), list):
                object.__setattr__(self, name.name, tuple(value))
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
