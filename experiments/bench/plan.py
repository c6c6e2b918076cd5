"""The settings of both benches, checked at the door."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from eat_lightning.config import DataSettings, Settings
from eat_lightning.errors import ConfigError
from eat_lightning.validation import Count, Positive
from experiments.bench.released import released

Share = Annotated[float, Field(ge=0, lt=1)]


class Sizes(Settings):
    """An encoder of random weights."""

    hidden_size: Count
    num_heads: Count
    intermediate_size: Count
    num_layers: Count
    vocab_size: Count

    def rules(self) -> Iterator[str]:
        width, heads = self.hidden_size, self.num_heads
        if width % heads:
            yield f"encoder.hidden_size must be a multiple of num_heads={heads}, got {width}"


class BenchSettings(Settings):
    what: Literal["speed", "cost", "training"]
    run: str | None
    body: Annotated[str, AfterValidator(released)] | None
    long: Annotated[int, Field(ge=2)] | None
    data: DataSettings
    encoder: Sizes
    ratio: Share
    leaving: Annotated[float, Field(ge=0, le=1)]
    lengths: str | None
    tasks: list[str] | None
    batches: list[Count] | None
    near: list[Count] | None
    examples: Count | None
    repeats: Count | None
    minutes: Positive | None
    dtype: Literal["fp32", "bf16", "int8"]
    only: list[str] | None
    budget: float | str | None
    threads: Count
    seed: int
    to: str
    force: bool

    def rules(self) -> Iterator[str]:
        yield from self.encoder.rules()
        if self.encoder.num_layers % 6:
            layers = self.encoder.num_layers
            yield f"encoder.num_layers must be a multiple of 6, got {layers}"
        if self.dtype == "int8" and not (self.run and self.what == "speed"):
            # Random weights have no int8 form, and int8 has no gradients.
            yield "dtype must be one of fp32, bf16, got 'int8' (that is for what=speed with run=)"
        if self.body and (self.run or self.what != "speed"):
            yield f"body={self.body} races with what=speed and run=null"
        if self.long and not self.body:
            yield f"long must be null without body=, got {self.long}"
        if self.budget is not None and not self.run:
            yield f"budget is fitted for a run: give run=outputs/..., got {self.budget!r}"


class ScalingSettings(Settings):
    encoder: Sizes
    window: int
    attentions: list[str]
    ratio: Share
    lengths: list[Annotated[int, Field(ge=2)]]
    dense_up_to: Count
    at: Count
    batches: list[Count]
    ratios: list[Share]
    repeats: Count
    threads: Count
    seed: int
    to: str
    force: bool

    def rules(self) -> Iterator[str]:
        from eat_lightning.methods.attention.longformer import Longformer
        from eat_lightning.model.method import argument_faults
        from eat_lightning.model.specification import class_of

        yield from self.encoder.rules()
        for kind in self.attentions:
            try:
                class_of("attention", kind)
            except ValueError as error:
                yield f"attentions: {error}"
        for kind in sorted({"dense", "longformer"} & {*self.attentions}):
            yield f"attentions must name others than dense and the window, got {kind!r}"
        yield from argument_faults(Longformer, None, window=self.window)
        if self.encoder.num_layers < 3:
            yield f"encoder.num_layers must be 3 or more, got {self.encoder.num_layers}"
        for key in ("lengths", "batches", "ratios"):  # a slope needs two points
            values = getattr(self, key)
            if len(set(values)) < 2:
                yield f"{key} must be a list of two numbers or more, got {values!r}"
        dense = [length for length in self.lengths if length <= self.dense_up_to]
        if self.at not in dense:
            yield f"at must be one of lengths up to dense_up_to, {dense}, got {self.at}"


def refuse_if_busy(force: bool, when: str = "so nothing is timed: wait for it, or give force=true"):
    """Refuse to time beside a training run; ConfigError names its process."""
    from eat_lightning.runs.training_mark import who_trains

    if not force and (pids := who_trains()):
        raise ConfigError.of(f"a run trains here (process {pid}), {when}" for pid in pids)


def session() -> dict[str, Any]:
    """Return the fields that all rows of one call share: the machine and the code."""
    from eat_lightning.runs.run import is_clean, provenance

    where = provenance()
    return {**where, "clean": is_clean(where["commit"]), "session": secrets.token_hex(6)}
