"""A candidate's time on one task at one batch size: the schema of the bench's rows."""

from __future__ import annotations

from dataclasses import field
from operator import attrgetter
from typing import Any

from pydantic.dataclasses import dataclass

from eat_lightning.validation import STRICT, Positive

RACED = ("race", "candidate", "task", "batch", "order")
KEY = (*RACED, "dtype", "threads", "width", "weights", "machine")
ELEMENT = {"fp32": 4, "bf16": 2, "int8": 1}  # bytes of a weight
Interval = list[Positive]  # value, low, high


@dataclass(frozen=True, config=STRICT)
class BenchRow:
    """Milliseconds and FLOPs are of an example, means over examples; of repeats, in which the
    candidates took turns, the median, and an interval of it. FLOPs are of real tokens, attention
    included: padding is work, but not work that anybody asked for.

    race: whose turns were taken together, and the table the row stands in. order: "as they come",
    "sorted" by length, or what lengths were chosen. lengths: where those come from: "dev examples"
    of a run, "histogram" of dev examples (lengths.json), or another histogram's file.
    padding_factor: padded tokens / real tokens, were each batch padded. flops_ratio and speed_up
    are against our static encoder of as many layers; `over` holds such ratios of times for each
    candidate that the race is about. limit_ms: the larger of FLOPs / gflops_ceiling and bytes of
    weights read / gbytes_ceiling. clean: measured at a commit without local changes.
    """

    race: str
    candidate: str
    task: str
    batch: int
    order: str
    dtype: str
    threads: int
    width: int
    num_layers: int
    num_examples: int
    repeats: int
    mean_length: Positive
    padding_factor: Positive
    ms: Interval
    flops: Positive
    depth: Positive
    flops_ratio: Positive
    speed_up: Interval
    gflops_ceiling: Positive
    gbytes_ceiling: Positive
    limit_ms: Positive
    over: dict[str, Interval] = field(default_factory=dict)
    lengths: str = ""
    weights: str = "random"
    machine: str = ""
    commit: str = ""
    clean: bool = False
    version: str = ""
    session: str = ""

    key = property(attrgetter(*KEY))

    @property
    def run(self) -> tuple[Any, ...]:
        """Return the key that rows timed by turns have in common."""
        return self.race, self.task, self.batch, self.order, self.weights, self.session

    @property
    def conversion(self) -> Interval:
        """Speed-up x FLOPs ratio."""
        return [ratio * self.flops_ratio for ratio in self.speed_up]

    @property
    def distance(self) -> float:
        """Time / what the ceilings allow."""
        return self.ms[0] / self.limit_ms

    @property
    def peak_share(self) -> Interval:
        """FLOPs a second / the ceiling."""
        value, low, high = (self.flops / ms / 1e6 / self.gflops_ceiling for ms in self.ms)
        return [value, high, low]
