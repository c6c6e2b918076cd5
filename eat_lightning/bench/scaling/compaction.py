"""When it pays to take an example that has left out of its batch: moving the rows of the others and
laying them out anew, against a layer that runs with one example more.

Shapes: B examples, R repeats, I passes of a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from eat_lightning.bench.scaling.subjects import text
from eat_lightning.infer.latency import time_interleaved
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Packed
from eat_lightning.report.claim import Cell, Column, Line, Source, Table

TOKENS = (3, 8, 25)  # of each example: [CLS], a word and [SEP]; a phrase; a sentence of SST-2
BATCHES = (2, 8, 16, 32, 64)
PASSES = 20


@dataclass(frozen=True)
class CompactionRow:
    """Milliseconds of one layer, a mean of each repeat: ride_R with all `batch` examples of
    `tokens`, compact_R with one taken out before it. One layer is the least that can be saved."""

    batch: int
    tokens: int
    ride_R: tuple[float, ...]
    compact_R: tuple[float, ...]

    @property
    def pays(self) -> float:
        """Time with it / time without it."""
        return median(self.ride_R) / median(self.compact_R)


def compaction(
    encoder: AdaptiveEncoder,
    repeats: int,
    batches: Sequence[int] = BATCHES,
    tokens: Sequence[int] = TOKENS,
) -> list[CompactionRow]:
    """Within `latency.undisturbed`; by turns."""
    last = encoder.shape.num_layers
    settings: dict[Any, tuple[Callable[[Packed], Any], list[Packed]]] = {}

    def ride(packed: Packed) -> None:
        encoder.run_layer(packed, last)

    def compact(packed: Packed) -> None:
        stays_B = torch.arange(packed.layout.size) > 0
        encoder.run_layer(packed.only(stays_B), last)

    for batch in batches:
        for length in tokens:
            packed = encoder.embed(text([length] * batch, encoder.shape.vocab_size))
            settings[batch, length, "ride"] = ride, [packed] * PASSES
            settings[batch, length, "compact"] = compact, [packed] * PASSES
    took = time_interleaved(settings, repeats, PASSES)
    return [
        CompactionRow(
            batch,
            length,
            *(tuple(took[batch, length, way].mean(1).tolist()) for way in ("ride", "compact")),
        )
        for batch in batches
        for length in tokens
    ]


def compaction_table(rows: Sequence[CompactionRow], caption: str) -> Table:
    columns = [
        Column("batch", "examples"),
        Column("tokens", "tokens of each"),
        Column("ride", "it rides along", "milliseconds of one layer with all examples"),
        Column("compact", "it is taken out", "one example less, moving the others included"),
        Column("pays", "ratio", "above 1 it pays with a single layer left to run"),
        Column("token", "µs a token", "of the layer with all examples: what fuller batches save"),
    ]
    lines = []
    for row in rows:
        ride, compact = median(row.ride_R), median(row.compact_R)
        ratios = [a / b for a, b in zip(row.ride_R, row.compact_R, strict=True)]
        shown = f"{row.pays:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        per_token = 1000 * ride / (row.batch * row.tokens)
        cells = {
            "batch": Cell(row.batch, str(row.batch)),
            "tokens": Cell(row.tokens, str(row.tokens)),
            "ride": Cell(ride, f"{ride:.3f}"),
            "compact": Cell(compact, f"{compact:.3f}"),
            "pays": Cell(row.pays, shown, min(ratios), max(ratios)),
            "token": Cell(per_token, f"{per_token:.1f}"),
        }
        lines.append(Line(cells, Source((), "python -m eat_lightning.bench.scaling")))
    return Table(
        "growth-compaction", "When one example leaves: with and without it", caption, columns, lines
    )
