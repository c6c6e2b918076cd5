"""A run's encoder as a `Backend`.

Shapes: B examples of a batch, G of them that left together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Backend, Left, Look, Source
from eat_lightning.infer.record import record, recorded_of
from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.contracts import Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.options import ALL_EXITS
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import specs_of
from eat_lightning.model.reason import Reason
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.model.trace import Trace
from eat_lightning.text_io import About, AnswerTrace, Texts
from eat_lightning.weights.dial import Budget


@dataclass(frozen=True)
class Encoded:
    """Token ids of each example, their types where the tokenizer gives some, and whether its text
    was cut."""

    ids: Sequence[Sequence[int]]
    types: Sequence[Sequence[int]] | None
    cut: Sequence[bool]

    def take(self, rows: Sequence[int]) -> Encoded:
        types = None if self.types is None else [self.types[i] for i in rows]
        return Encoded([self.ids[i] for i in rows], types, [self.cut[i] for i in rows])


@dataclass
class TorchBackend(Backend):
    """by_source: an encoder for each source of data that has exits of its own; None is for any
    other. combine: what a certificate holds for, given the specs of the slots. dial: the encoder
    with its knobs where they are for a budget."""

    folder: Path
    by_source: Mapping[Source, AdaptiveEncoder]
    tokenizer: Any
    columns: Sequence[str]
    labels: Sequence[str]
    max_length: int
    combine: Callable[[dict[str, Any]], dict[str, Any]] = dict
    dial: Callable[[Budget], AdaptiveEncoder] | None = None

    def __post_init__(self) -> None:
        self.encoder = self.by_source[None]  # answers a source without exits of its own
        self.num_layers, self.kind = self.encoder.shape.num_layers, self.encoder.kind
        early = {layer for encoder in self.by_source.values() for layer in encoder.exit.layers}
        self.exits = sorted({*early, self.num_layers})

    def set_budget(self, budget: float | str) -> None:
        """Spend so much on an example, on average: a share of full FLOPs (0.5), or milliseconds at
        batch 1 on this machine ("12ms"). The run's dial is fitted on its calibration cut where none
        is kept. ConfigError where that cannot be."""
        self._turn_to("set_budget: budget", Budget.parse, budget)

    def set_agreement(self, agree: float) -> None:
        """Spend as little as leaves this share of answers as full depth says. As `set_budget`."""
        self._turn_to("set_agreement: agree", Budget.parse_agreement, agree)

    def _turn_to(self, title: str, parse: Callable[[Any], Budget], value: Any) -> None:
        if self.dial is None:
            raise ConfigError(f"{title.partition(':')[0]}: a certificate has exits of its own")
        try:
            wanted = parse(value)
        except ValueError as error:
            raise ConfigError(f"{title} {error}") from None
        self.by_source = {None: self.dial(wanted)}
        self.__post_init__()

    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Look:
        source, encoded = self.source_of(about), self.encoded([text])
        encoder = self.by_source[source]
        with torch.inference_mode():
            trace = encoder(self.batch_of(encoded, [about]))
        depth, signals = int(trace.depth_B), trace.signals
        passed = [k for k in sorted(trace.guesses) if k <= depth]
        found = in_numpy(trace, np.array(encoded.cut))
        return Look(
            Left(source, [0], found.answers(self.kind, self.labels), found, found),
            {k: trace.guesses[k][0].float().cpu().numpy() for k in passed},
            {k: signals[k][0].float().cpu().numpy() for k in passed if k in signals},
            encoder.exit,
        )

    def record(self, split: Any, batch: int = 32, title: str = "") -> Recorded:
        return record(self.encoder, split, batch, title)

    def run(
        self, source: Source, texts: Texts, about: About, deep: bool
    ) -> Iterator[tuple[np.ndarray, AnswerTrace, AnswerTrace]]:
        encoder, encoded = self.by_source[source], self.encoded(texts)
        batch, cut_B = self.batch_of(encoded, about), np.array(encoded.cut)
        if not deep:
            for rows_G, trace in streamed(encoder, batch):
                found = in_numpy(trace, cut_B[rows_G.numpy()])
                yield rows_G.numpy(), found, found
            return
        with torch.inference_mode():
            whole = encoder(batch, ALL_EXITS)
        fallback_B = np.full(batch.size, int(Reason.FALLBACK))
        answered = replace(in_numpy(whole, cut_B), reason_B=fallback_B)
        # What exits and policies would have made of it: every head has guessed.
        recorded = recorded_of(encoder, whole, batch)
        outcome, tokens_LB = recorded.under(), recorded.tokens_LB
        of_exits = outcome.logits_BC, outcome.depth_B, outcome.reason_B, tokens_LB, outcome.names
        yield np.arange(batch.size), answered, AnswerTrace(*of_exits)

    @contextmanager
    def cutting(self, side: str | None) -> Iterator[None]:
        before = self.tokenizer.truncation_side
        self.tokenizer.truncation_side = side or before
        try:
            yield
        finally:
            self.tokenizer.truncation_side = before

    def encoded(self, texts: Texts) -> Encoded:
        found = self.tokenizer(
            *map(list, zip(*texts, strict=True)),
            truncation="longest_first" if len(self.columns) == 2 else True,
            max_length=self.max_length,
            return_attention_mask=False,
        )
        # A tokenizer in Python (none of the backbones' own is) does not say what it cut.
        cut = [bool(each.overflowing) for each in found.encodings or ()] or [False] * len(texts)
        return Encoded(found["input_ids"], found.get("token_type_ids"), cut)

    def batch(self, texts: Texts, about: About) -> Batch:
        return self.batch_of(self.encoded(texts), about)

    def batch_of(self, encoded: Encoded, about: About) -> Batch:
        batch = Batch.from_lists(encoded.ids, encoded.types)
        batch.about = about
        return batch.to(self.encoder.strength.device)

    def identity(self, source: Source = None) -> dict[str, Any]:
        encoder = self.by_source[source]
        return self.combine(specs_by_slot(encoder) | {"policy": specs_of(encoder.policies)})

    def policies(self, source: Source = None) -> Sequence[Policy]:
        return self.by_source[source].policies


@torch.inference_mode()
def streamed(encoder: AdaptiveEncoder, batch: Batch) -> Iterator[tuple[Any, Trace]]:
    """`encoder.stream`, without gradients only while it runs: torch leaves the mode at each
    `yield`, so that whoever takes an answer is not in it."""
    yield from encoder.stream(batch)


def in_numpy(trace: Trace, cut_B: np.ndarray | None = None) -> AnswerTrace:
    logits_BC = trace.logits_BC.float().cpu().numpy()
    return AnswerTrace(
        logits_BC,
        trace.depth_B.numpy(),
        trace.reason_B.numpy(),
        trace.tokens_LB.numpy(),
        trace.names,
        cut_B=cut_B,
    )
