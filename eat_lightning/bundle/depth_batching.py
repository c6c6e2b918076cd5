"""Depth-wise batching: remaining examples of many batches continue together, so that deep layers
run full batches.

It is for corpora (`score`), where latency does not matter. Examples do not influence each other, so
answers equal those of ordinary batching up to rounding. Fewer than `size` examples wait at each
exit, so memory is that of one or two batches per exit.

Shapes: B examples of a group, G of them that left, N packed tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch, Layout, Packed
from eat_lightning.model.policy import PolicyState
from eat_lightning.model.recorder import PassOptions, TraceRecorder
from eat_lightning.model.trace import Trace

Name = TypeVar("Name")


@dataclass
class Group(Generic[Name]):
    """Examples that have reached the same layer, with their batch, their trace so far, and their
    hidden states at the input of the next layer. None of them has exited.
    """

    names: list[Name]
    batch: Batch
    recorder: TraceRecorder
    packed: Packed


class Pool(Generic[Name]):
    """A pool of waiting examples, to be used within `torch.inference_mode`.

    Args:
        size: number of examples, or of tokens, of a full batch.
    """

    def __init__(self, encoder: AdaptiveEncoder, size: int, in_tokens: bool = False):
        self.encoder, self.size, self.in_tokens = encoder, size, in_tokens
        self.waiting: dict[int, list[Group[Name]]] = {}  # by the layer they enter

    def __len__(self) -> int:
        """Number of waiting examples."""
        return sum(len(g.names) for groups in self.waiting.values() for g in groups)

    def add(self, names: Sequence[Name], batch: Batch) -> Iterator[tuple[list[Name], Trace]]:
        """Add a batch. Yields names and traces of all examples that finish, a few at a time."""
        recorder = self.encoder.recorder(batch, PassOptions(leave=True))
        packed = self.encoder.start(batch, recorder)
        self.wait(0, Group(list(names), batch, recorder, packed))
        yield from self.run(self.size)

    def flush(self) -> Iterator[tuple[list[Name], Trace]]:
        """Run all waiting examples to the end, in batches of any size."""
        yield from self.run(1)

    def amount(self, group: Group[Name]) -> int:
        return len(group.packed.x_ND) if self.in_tokens else len(group.names)

    def wait(self, layer: int, group: Group[Name]) -> None:
        self.waiting.setdefault(layer, []).append(group)

    def run(self, least: int) -> Iterator[tuple[list[Name], Trace]]:
        """Run every waiting group of at least `least`, from the embedding to the last layer."""
        for layer in range(len(self.encoder.layers) + 1):
            groups = self.waiting.get(layer, [])
            if sum(map(self.amount, groups)) >= least:
                del self.waiting[layer]
                yield from self.advance(layer, together(groups))

    def advance(self, layer: int, group: Group[Name]) -> Iterator[tuple[list[Name], Trace]]:
        names, recorder = group.names, group.recorder
        stop = next(self.encoder.run(group.packed, group.batch, recorder, layer))
        if stop.packed is not None:
            here = only_here(Group(names, group.batch, recorder, stop.packed))
            self.wait(stop.layer + 1, here)
        if len(stop.left_G):
            yield [names[i] for i in stop.left_G.tolist()], recorder.take(stop.left_G)


def together(groups: Sequence[Group[Name]]) -> Group[Name]:
    """Join groups that have passed the same exits."""
    if len(groups) == 1:
        return groups[0]
    return Group(
        [name for group in groups for name in group.names],
        batches_together(group.batch for group in groups),
        recorders_together([group.recorder for group in groups]),
        packed_together([group.packed for group in groups]),
    )


def only_here(group: Group[Name]) -> Group[Name]:
    """Drop names and traces of examples that have exited. Their hidden states are already gone."""
    rows_B = group.recorder.here_B
    if len(rows_B) == len(group.names):
        return group
    names = [group.names[i] for i in rows_B.tolist()]
    recorder = recorders_together([group.recorder])
    return Group(names, group.batch.take(rows_B), recorder, group.packed)


def batches_together(batches: Iterable[Batch]) -> Batch:
    """Join batches into one with all fields that a policy may read, without labels."""
    found = list(batches)
    abouts = [batch.about for batch in found]
    known = all(about is not None for about in abouts)
    return Batch(
        ids_N=torch.cat([batch.ids_N for batch in found]),
        types_N=torch.cat([batch.types_N for batch in found]),
        lengths_B=torch.cat([batch.lengths_B for batch in found]),
        about=[a for about in abouts for a in about or ()] if known else None,
    )


def recorders_together(recorders: Sequence[TraceRecorder]) -> TraceRecorder:
    """Join the remaining examples of several recorders."""
    rows = [recorder.here_B for recorder in recorders]
    first = recorders[0]
    joined = TraceRecorder(len(first.tokens_LB), sum(map(len, rows)), first.exit, first.options)
    pairs = list(zip(recorders, rows, strict=True))
    joined.tokens_LB = torch.cat([recorder.tokens_LB[:, rows_B] for recorder, rows_B in pairs], 1)
    why_B = [recorder.state.why_B[rows_B.numpy()] for recorder, rows_B in pairs]
    joined.state = PolicyState(np.concatenate(why_B))

    def by_layer(of: Callable[[TraceRecorder], dict[int, Tensor]]) -> dict[int, Tensor]:
        return {
            layer: torch.cat([of(each)[layer][rows_B.to(x.device)] for each, rows_B in pairs])
            for layer, x in of(first).items()
        }

    joined.guesses = by_layer(lambda recorder: recorder.guesses)
    joined.signals = by_layer(lambda recorder: recorder.signals)
    joined.inside.pools = by_layer(lambda recorder: recorder.inside.pools)
    return joined


def packed_together(found: Sequence[Packed]) -> Packed:
    """Join packed rows. In a group without merged tokens, each token has size 1 and log
    weight 0.
    """

    def joined(of: Callable[[Packed], Tensor | None], alone: float = 0.0) -> Any:
        parts = [of(packed) for packed in found]
        if all(part is None for part in parts):
            return None
        whole = [x.x_ND.new_full(x.position_N.shape, alone) for x in found]
        return torch.cat([a if x is None else x for a, x in zip(whole, parts, strict=True)])

    lengths_B = torch.cat([packed.layout.lengths_B for packed in found])
    return Packed(
        layout=Layout(lengths_B, found[0].layout.device),
        notes={k: torch.cat([packed.notes[k] for packed in found]) for k in found[0].notes},
        x_ND=joined(lambda packed: packed.x_ND),
        position_N=joined(lambda packed: packed.position_N),
        special_N=joined(lambda packed: packed.special_N),
        strength_B=joined(lambda packed: packed.strength_B),
        size_N=joined(lambda packed: packed.size_N, alone=1.0),
        weight_N=joined(lambda packed: packed.weight_N),
        original_B=joined(lambda packed: packed.original_B),
    )
