"""One measured point of the scaling bench: the schema of its rows."""

from __future__ import annotations

from dataclasses import field
from statistics import median
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from eat_lightning.validation import Count, Positive


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScalingRow:
    """Time and memory of one candidate where `axis` has the value `size`; a file is of one call.

    axis: length (tokens of each example), batch (examples), layers run, heads (evaluated on the
    way), retention (tokens entering a layer / tokens, mean over the layers run). ms_R: a pass, once
    in each repeat; attention_R: of it, in the attention product (None where that is all there is).
    peak_bytes: tensors alive at once during a pass, weights and ids apart, as torch's allocator
    counts them. flops: counted on the shapes that ran. operators: milliseconds of each of torch's
    operators itself in one profiled pass, of those that took 1 % or more. clean: measured at a
    commit without local changes.
    """

    axis: Literal["length", "batch", "layers run", "heads", "retention"]
    candidate: str
    size: Positive
    length: int
    batch: int
    layers_run: int
    heads: int
    retention: Positive
    ms_R: tuple[Positive, ...]
    attention_R: tuple[float, ...] | None
    peak_bytes: Count
    flops: Positive
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
    clean: bool = False
    version: str = ""
    session: str = ""

    @property
    def ms(self) -> float:
        return median(self.ms_R)
