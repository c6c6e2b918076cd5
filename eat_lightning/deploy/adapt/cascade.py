"""What answers first where it is sure: a small classifier, or the same one in a lower precision.

Shapes: B examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.bundle.original import Original
from eat_lightning.deploy.adapt.forms import Deployed, Forms
from eat_lightning.errors import ConfigError
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace
from eat_lightning.record.escalation import Escalation
from eat_lightning.record.point import Point

LEAST_SHARE = 0.05  # of the texts: where it answers fewer, it costs more than it saves
# Of the texts, those that a higher precision answers again.
SHARES = (
    *(k / 1000 for k in (1, 2, 3, 5, 7)),
    *(k / 100 for k in (1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30)),
)
DIGITS = 6  # of a margin, as `Point.key` has it


@dataclass(frozen=True)
class PairedSplit:
    """Two models' tokens of the same texts. A batch is a pair."""

    first: Any
    second: Any

    @property
    def lengths(self) -> np.ndarray:
        return self.second.lengths

    def __len__(self) -> int:
        return len(self.second)

    def batch(self, rows_B: np.ndarray) -> tuple[Any, Any]:
        return self.first.batch(rows_B), self.second.batch(rows_B)


def of_rows(batch: Any, rows_G: np.ndarray) -> Any:
    """Some texts of a batch, or of the packs of a batch in windows."""
    if isinstance(batch, Batch):
        return batch.take(torch.from_numpy(rows_G))
    return [pack.take(rows_G) for pack in batch if np.isin(pack.rows_B, rows_G).any()]


@dataclass(frozen=True)
class FirstModel:
    """What answers before a form of the classifier that is adapted.

    Args:
        forms: of a small classifier, or of that one.
        splits: the same texts by its tokenizer.
        trace: its answers to the texts for choosing, where it is for these.
        ms: that it takes, in the mean over these.
    """

    forms: Forms
    point: Point
    splits: Mapping[str, Any]
    trace: Trace = field(default_factory=lambda: Trace(np.zeros((0, 1)), np.zeros(0)))
    ms: float = math.nan

    @property
    def kind(self) -> AnswerKind:
        return self.forms.original.same.kind

    @property
    def margins_D(self) -> np.ndarray:
        """Margins of the answers of all layers, from the least."""
        deep_DC = self.trace.logits_BC[self.trace.depth_B >= self.forms.num_layers]
        return np.sort(self.kind.margin(deep_DC))

    def margins(self) -> Iterator[float]:
        """Yield margins from strict to lax with which enough of its answers stand."""
        margin_B = self.margins_D
        quantiles = np.quantile(margin_B, np.linspace(0, 1, 101))
        finite = quantiles[np.isfinite(quantiles)]
        rounded = np.ceil(finite * 10**DIGITS) / 10**DIGITS  # stricter, and told apart by a key
        for least in np.unique(rounded)[::-1].tolist():
            if (margin_B >= least).mean() >= LEAST_SHARE:
                yield least

    def answering_again(self) -> Iterator[tuple[float, float]]:
        """Yield shares of the texts and the margins below which so many go on; 0 and 0 first."""
        margin_D, size = self.margins_D, len(self.trace)
        yield 0.0, 0.0
        for count in sorted({math.ceil(share * size) for share in SHARES}):
            if count < len(margin_D) and np.isfinite(margin_D[count]):
                margin = round(float(margin_D[count - 1 : count + 1].mean()), DIGITS)
                yield float((margin_D < margin).sum()) / size, margin

    def escalation(self, point: Point, layers_behind: int) -> Escalation:
        """From this model to one of so many layers.

        Args:
            point: of both.
        """
        layers = self.forms.num_layers, layers_behind
        return Escalation(self.kind, point.margin, *layers, point.falls_back)

    def then(
        self, large: Deployed, point: Point, num_layers: int, threads: int | None = None
    ) -> Deployed:
        """Make a cascade ready, which runs on pairs of batches.

        Args:
            large: what is behind.
            point: of both.
            num_layers: of the large model.
            threads: as in `Forms.deployed`.
        """
        small = self.forms.deployed(self.point, threads)
        escalation = self.escalation(point, num_layers)

        def run(pair: tuple[Any, Any]) -> Trace:
            first = small.read(small.run(pair[0]))
            rows_G = np.flatnonzero(escalation.goes_on(first))
            if not len(rows_G):
                return escalation.stands(first)
            batch = of_rows(pair[1], rows_G)
            return escalation.joined(first, large.read(large.run(large.ready(batch))))

        # Only the second model's input waits for the answers: it is of the texts that go on.
        return Deployed(run, lambda pair: (small.ready(pair[0]), pair[1]), lambda trace: trace)


def check_pair(small: Original, large: Original) -> None:
    """ConfigError, in one line, where one cannot answer in the other's place."""
    ours, theirs = small.same, large.same
    if ours.kind.problem_type != theirs.kind.problem_type or [*ours.labels] != [*theirs.labels]:
        raise ConfigError(
            f"small={small.name} answers with {ours.title}, and model={large.name} with "
            f"{theirs.title}: a cascade needs the same, in the same order"
        )
    if not ours.labels:
        raise ConfigError(f"small={small.name}: a score has no confidence, so no cascade is tried")
