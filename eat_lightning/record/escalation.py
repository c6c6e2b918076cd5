"""Cascades of two models: which texts go on from the first to the second, and the trace of both.

A text goes on if it ran all layers of the first model and the margin of its answer is small
(cascades: Viola and Jones 2001; one model in two precisions: Kouris et al. 2018).

Shapes: B examples, L layers of both models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.model.reason import FIRST_REASON, Reason, reason_names
from eat_lightning.model.trace import Trace

SURE = "small_model_sure"  # the reason of an answer of the first model after all of its layers
STANDS, AGAIN = "last_layer_sure", "answered_again"  # where both are one model in two precisions


@dataclass(frozen=True)
class Escalation:
    """The step of a cascade from the first model to the second.

    Args:
        kind: kind of both models' answers.
        margin: least margin at which an answer of the first model is final.
        layers: number of layers of the first model; in a trace, those of the second follow them.
        layers_behind: number of layers of the second model.
        is_again: whether the second model is the first one in another precision.
    """

    kind: AnswerKind
    margin: float
    layers: int
    layers_behind: int
    is_again: bool = False

    @property
    def reasons(self) -> list[str]:
        """Reasons that its traces have beside those of both models."""
        return [STANDS, AGAIN] if self.is_again else [SURE]

    def goes_on(self, first: Trace) -> np.ndarray:
        """Return a mask of the examples (B) that go on to the second model."""
        return (self.kind.margin(first.logits_BC) < self.margin) & (first.depth_B >= self.layers)

    def stands(self, first: Trace) -> Trace:
        """Return the examples that the first model answers, as a trace over the layers of both."""
        stands_B = ~self.goes_on(first)
        found = first if stands_B.all() else first.take(np.flatnonzero(stands_B))
        tokens_LB, reason_B, names = found.tokens_LB, found.reason_B, found.names
        if tokens_LB is not None:
            none_LB = np.zeros((self.layers_behind, tokens_LB.shape[1]), tokens_LB.dtype)
            tokens_LB = np.concatenate([tokens_LB, none_LB])
        if reason_B is not None:
            sure = max(names) + 1
            names = {**names, sure: self.reasons[0]}
            reason_B = np.where(found.depth_B >= self.layers, sure, reason_B)
        return replace(
            found, tokens_LB=tokens_LB, reason_B=reason_B, names=names, would=None, parts=None
        )

    def behind(self, second: Trace) -> Trace:
        """Return the second model's trace as one over the layers of both. The tokens of the first
        model's layers are those that the second one read."""
        tokens_LB = second.tokens_LB
        if tokens_LB is not None:
            tokens_LB = np.concatenate([np.repeat(tokens_LB[:1], self.layers, 0), tokens_LB])
        reason_B, names = second.reason_B, second.names
        if self.is_again and reason_B is not None:
            again = max(names, default=0) + 1  # a text that was refused has no reason
            names = {**names, again: AGAIN}
            reason_B = np.where(reason_B == Reason.LAST_LAYER, again, reason_B)
        return replace(
            second,
            tokens_LB=tokens_LB,
            depth_B=second.depth_B + self.layers,
            reason_B=reason_B,
            names=names,
            would=None,
            parts=None,
        )

    def joined(self, first: Trace, second: Trace) -> Trace:
        """Return the trace of the cascade for all examples, in their order.

        Args:
            first: trace of the first model, for all examples.
            second: trace of the second model, for the examples that go on.
        """
        rows_B = np.arange(len(first))
        front = self.stands(replace(first, rows_B=rows_B))
        rest = replace(self.behind(second), rows_B=rows_B[self.goes_on(first)])
        return replace(together(front, rest), rows_B=first.rows_B)


def together(first: Trace, second: Trace) -> Trace:
    """Join traces of two models, in the order of `rows_B`, with common codes for their reasons. If
    only one model predicts a score's error, that column is dropped."""
    width = min(first.logits_BC.shape[1], second.logits_BC.shape[1])
    codes = [item for each in (first, second) for item in sorted(each.names.items())]
    reasons = [name for code, name in codes if code >= FIRST_REASON]  # those of exit rules
    names = reason_names([*dict.fromkeys(reasons)])
    parts = [
        replace(recoded(each, names), logits_BC=each.logits_BC[:, :width], guesses={}, signals={})
        for each in (first, second)
    ]
    return Trace.together(parts)


def recoded(trace: Trace, names: Mapping[int, str]) -> Trace:
    """Return the trace with the codes of `names` for its reasons."""
    if trace.reason_B is None:
        return replace(trace, names=names)
    codes = {name: code for code, name in names.items()}
    new_of = np.zeros(max(trace.names, default=0) + 1, np.int64)
    for code, name in trace.names.items():
        new_of[code] = codes.get(name, 0)
    return replace(trace, reason_B=new_of[trace.reason_B], names=names)
