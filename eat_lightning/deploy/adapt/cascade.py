"""A small classifier before the large one: it answers where it is sure.

Shapes: N examples, B of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.data.split import Split
from eat_lightning.deploy.adapt.forms import Deployed, Form, Forms
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.work import Passed
from eat_lightning.errors import ConfigError
from eat_lightning.model.packed import Batch

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
        passed: its answers to the texts for choosing.
    """

    forms: Forms
    form: Form
    splits: Mapping[str, Split]
    passed: Passed

    @property
    def kind(self) -> AnswerKind:
        return self.forms.original.same.kind

    def parts(self) -> Iterator[tuple[SmallPart, np.ndarray]]:
        """Yield least margins from strict to lax, and who is answered with each (N)."""
        margin_N = margins(self.kind, self.passed.logits_NC)
        for least in np.unique(np.quantile(margin_N, np.linspace(0, 1, 101)))[::-1].tolist():
            sure_N = margin_N >= least
            if sure_N.mean() >= LEAST_SHARE:
                yield SmallPart(self.form, least, float(sure_N.mean())), sure_N

    def before(self, large: Deployed, part: SmallPart) -> Deployed:
        """Make a cascade ready, which runs on pairs of batches."""
        small, depth = self.forms.deployed(part.form), self.forms.num_layers

        def run(pair: tuple[Batch, Batch]) -> Passed:
            first = small.read(small.run(small.ready(pair[0])))
            logits_BC, depth_B = first.logits_NC.copy(), np.full(len(first.logits_NC), depth)
            rows_B = np.flatnonzero(margins(self.kind, first.logits_NC) < part.least)
            if len(rows_B):
                batch = pair[1].take(torch.from_numpy(rows_B))
                second = large.read(large.run(large.ready(batch)))
                logits_BC[rows_B] = second.logits_NC[:, : logits_BC.shape[1]]
                depth_B[rows_B] += second.depth_N
            return Passed(logits_BC, depth_B)

        return Deployed(run, lambda pair: pair, lambda passed: passed)


def margins(kind: AnswerKind, logits_NC: np.ndarray) -> np.ndarray:
    return kind.margin(torch.from_numpy(logits_NC)).numpy()


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
