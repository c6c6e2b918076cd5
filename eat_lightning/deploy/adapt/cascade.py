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
from eat_lightning.deploy.adapt.forms import Deployed, Form, Forms
from eat_lightning.engines.original import Original
from eat_lightning.errors import ConfigError
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace

LEAST_SHARE = 0.05  # of the texts: where it answers fewer, it costs more than it saves


@dataclass(frozen=True)
class SmallPart:
    """The first model of a cascade.

    Args:
        form: in which it runs.
        least: margin of its answer with which that stands.
        share: of the texts for choosing that it answers.
    """

    form: Form
    least: float
    share: float


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
        form: in which it is the fastest.
        splits: the same texts by its tokenizer.
        trace: its answers to the texts for choosing.
    """

    forms: Forms
    form: Form
    splits: Mapping[str, Split]
    trace: Trace

    @property
    def kind(self) -> AnswerKind:
        return self.forms.original.same.kind

    def parts(self) -> Iterator[tuple[SmallPart, np.ndarray]]:
        """Yield least margins from strict to lax, and who is answered with each (B)."""
        margin_B = margins(self.kind, self.trace.logits_BC)
        for least in np.unique(np.quantile(margin_B, np.linspace(0, 1, 101)))[::-1].tolist():
            sure_B = margin_B >= least
            if sure_B.mean() >= LEAST_SHARE:
                yield SmallPart(self.form, least, float(sure_B.mean())), sure_B

    def before(self, large: Deployed, part: SmallPart) -> Deployed:
        """Make a cascade ready, which runs on pairs of batches."""
        small, depth = self.forms.deployed(part.form), self.forms.num_layers

        def run(pair: tuple[Batch, Batch]) -> Trace:
            first = small.read(small.run(small.ready(pair[0])))
            logits_BC, depth_B = first.logits_BC.copy(), np.full(len(first), depth)
            rows_B = np.flatnonzero(margins(self.kind, first.logits_BC) < part.least)
            if len(rows_B):
                batch = pair[1].take(torch.from_numpy(rows_B))
                second = large.read(large.run(large.ready(batch)))
                logits_BC[rows_B] = second.logits_BC[:, : logits_BC.shape[1]]
                depth_B[rows_B] += second.depth_B
            return Trace(logits_BC, depth_B)

        return Deployed(run, lambda pair: pair, lambda trace: trace)


def margins(kind: AnswerKind, logits_BC: np.ndarray) -> np.ndarray:
    return kind.margin(torch.from_numpy(logits_BC)).numpy()


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
