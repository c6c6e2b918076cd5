"""A small classifier before the large one: it answers where it is sure.

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.data.split import Split
from eat_lightning.deploy.adapt.forms import Deployed, Forms
from eat_lightning.engines.original import Original
from eat_lightning.errors import ConfigError
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace
from eat_lightning.record.escalation import Escalation
from eat_lightning.record.point import Point

LEAST_SHARE = 0.05  # of the texts: where it answers fewer, it costs more than it saves


@dataclass(frozen=True)
class PairedSplit:
    """Two models' tokens of the same texts. A batch is a pair."""

    small: Split
    large: Split

    @property
    def lengths(self) -> np.ndarray:
        return self.large.lengths

    def __len__(self) -> int:
        return len(self.large)

    def batch(self, rows_B: np.ndarray) -> tuple[Batch, Batch]:
        return self.small.batch(rows_B), self.large.batch(rows_B)


@dataclass
class SmallModel:
    """A classifier that may stand before the one that is adapted.

    Args:
        point: in which it is the fastest.
        splits: the same texts by its tokenizer.
        trace: its answers to the texts for choosing.
    """

    forms: Forms
    point: Point
    splits: Mapping[str, Split]
    trace: Trace

    @property
    def kind(self) -> AnswerKind:
        return self.forms.original.same.kind

    def margins(self) -> Iterator[float]:
        """Yield margins from strict to lax with which enough of its answers stand."""
        margin_B = self.kind.margin(torch.from_numpy(self.trace.logits_BC)).numpy()
        for least in np.unique(np.quantile(margin_B, np.linspace(0, 1, 101)))[::-1].tolist():
            if (margin_B >= least).mean() >= LEAST_SHARE:
                yield least

    def escalation(self, margin: float, layers_behind: int) -> Escalation:
        """From this model to one of so many layers."""
        return Escalation(self.kind, margin, self.forms.num_layers, layers_behind)

    def before(self, large: Deployed, margin: float, num_layers: int) -> Deployed:
        """Make a cascade ready, which runs on pairs of batches.

        Args:
            num_layers: of the large model.
        """
        small, escalation = self.forms.deployed(self.point), self.escalation(margin, num_layers)

        def run(pair: tuple[Batch, Batch]) -> Trace:
            first = small.read(small.run(small.ready(pair[0])))
            rows_B = np.flatnonzero(escalation.goes_on(first))
            if not len(rows_B):
                return escalation.stands(first)
            batch = pair[1].take(torch.from_numpy(rows_B))
            return escalation.joined(first, large.read(large.run(large.ready(batch))))

        return Deployed(run, lambda pair: pair, lambda trace: trace)


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
