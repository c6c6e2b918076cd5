"""An encoder in torch as a `Model`.

Shapes: B examples of a batch, G of them that left together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from eat_lightning.bundle.model import Model
from eat_lightning.data.split import reader_of
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.long_texts import CUT, REFUSE, AnswerRequest, TokenWindow, placed
from eat_lightning.model.contracts import ExitRule, Policy, open_layers
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import specs_of
from eat_lightning.model.reason import Reason
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.model.trace import Trace
from eat_lightning.record.dial import Budget, dtype_of
from eat_lightning.record.full_depth import FullDepthIfFound
from eat_lightning.record.passes import record, record_of
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.text_io import About, Texts


@dataclass
class TorchModel(Model):
    """An encoder in torch.

    Args:
        combine: returns the combination of a certificate, given specifications by slot.
        dial: returns the encoder with its thresholds set for a budget.
    """

    folder: Path
    encoder: AdaptiveEncoder
    tokenizer: Any  # of transformers
    columns: Sequence[str]
    labels: Sequence[str]
    max_length: int
    combine: Callable[[dict[str, Any]], dict[str, Any]] = dict
    dial: Callable[[Budget], AdaptiveEncoder] | None = None

    def __post_init__(self) -> None:
        self.reader = reader_of(self.tokenizer, self.max_length, REFUSE)
        self.num_layers, self.kind = self.encoder.shape.num_layers, self.encoder.kind
        self.dtype = dtype_of(self.encoder)
        self.note_exits()

    def note_exits(self) -> None:
        self.exits = sorted({*open_layers(self.encoder.exit), self.num_layers})

    def set_budget(self, budget: float | str) -> None:
        """Set the mean cost of an example: a share of full FLOPs (0.5), or milliseconds at batch 1
        on this machine ("12ms"). If the run has no dial, it is fitted on its calibration split.

        Raises:
            ConfigError: where it cannot be fitted or met.
        """
        self._turn_to("set_budget: budget", Budget.parse, budget)

    def set_agreement(self, agree: float) -> None:
        """Set the lowest cost with at least this share of answers equal to full depth.

        Raises:
            ConfigError: as in `set_budget`.
        """
        self._turn_to("set_agreement: agree", Budget.parse_agreement, agree)

    def _turn_to(self, title: str, parse: Callable[[Any], Budget], value: Any) -> None:
        if self.dial is None:
            raise ConfigError(f"{title.partition(':')[0]}: a certificate has exits of its own")
        try:
            wanted = parse(value)
        except ValueError as error:
            raise ConfigError(f"{title} {error}") from None
        self.encoder = self.dial(wanted)
        self.note_exits()

    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Trace:
        read = self.read_one(text)
        with torch.inference_mode():
            trace = self.encoder(self.batch_of(read.windows, [about]))
        return placed(trace.numpy(), [0], [read])

    def at(self, point: Point) -> Self:
        made = copy(self)
        try:
            made.encoder = point.on(self.encoder)
        except ValueError as error:
            raise ConfigError(f"point: {one_line(error)}") from None
        made.note_exits()
        return made

    @property
    def exit_rule(self) -> ExitRule:
        return self.encoder.exit

    def record(self, split: Any, batch: int = 32, title: str = "") -> Record:
        return record(self.encoder, split, batch, title)

    def run(self, request: AnswerRequest) -> Iterator[Trace]:
        joiner = request.joiner
        encoder, batch = self.encoder, self.batch_of(request.windows, request.about)
        if joiner is not None:
            encoder = encoder.replacing(policies=(*encoder.policies, FullDepthIfFound(joiner)))
        if not request.deep:
            for trace in streamed(encoder, batch):
                yield trace.numpy(guesses=False)
            return
        with torch.inference_mode():
            whole = encoder(batch, ALL_EXITS)
        fallback_B = np.full(batch.size, int(Reason.FALLBACK))
        answered = replace(whole.numpy(guesses=False), reason_B=fallback_B)
        # What exits and policies would have made of it: every head has guessed.
        would = record_of(encoder, whole, batch).replay()
        yield replace(answered, rows_B=np.arange(batch.size), would=would)

    def batch(self, texts: Texts, about: About) -> Batch:
        """Return a batch of texts, truncated to the model's length."""
        read = replace(self.reader, long=CUT)(texts)
        return self.batch_of([text.windows[0] for text in read], about)

    def batch_of(self, windows: Sequence[TokenWindow], about: About) -> Batch:
        batch = Batch(
            ids_N=torch.from_numpy(np.concatenate([each.ids for each in windows])).long(),
            types_N=torch.from_numpy(np.concatenate([each.types for each in windows])).long(),
            lengths_B=torch.tensor([len(each.ids) for each in windows]),
            index_B=torch.arange(len(windows)),
            num_global=len(windows),
            about=about,
        )
        return batch.to(self.encoder.strength.device)

    def identity(self) -> dict[str, Any]:
        encoder = self.encoder
        return self.combine(specs_by_slot(encoder) | {"policy": specs_of(encoder.policies)})

    @property
    def policies(self) -> Sequence[Policy]:
        return self.encoder.policies


@torch.inference_mode()
def streamed(encoder: AdaptiveEncoder, batch: Batch) -> Iterator[Trace]:
    """Run `encoder.stream`, with gradients disabled only while it runs. The mode is left at each
    `yield`, so that it does not apply to the caller.
    """
    for _, trace in encoder.stream(batch):
        yield trace
