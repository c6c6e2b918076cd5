"""Delay exits of an export by a stricter rule or by policies.

The graphs contain the exit rule, but examples are removed between them. There an exit can be
delayed, but not added. Torch is needed only for a stricter rule.

Shapes: B examples of a batch, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.bundle.onnx_runner import LAST_LAYER, STAYS, Review
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.policy import KnownFields, PolicyState, strictest
from eat_lightning.model.trace import Trace, run_tokens
from eat_lightning.text_io import About

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Policy


@dataclass(frozen=True)
class StricterExits:
    """Examples exit where the graphs (at `layers`) allow it, `rule` agrees and no policy objects.

    Args:
        rule: an exit rule on a subset of these layers; at the others no example exits. None: the
            graphs decide alone.
    """

    layers: Sequence[int]
    rule: Any = None
    policies: Sequence[Policy] = ()

    def deep(self) -> StricterExits:
        """The rule without early exits; answers give the reason `fallback`."""
        return replace(self, policies=(FullDepth(), *self.policies))

    def review(self, about: About) -> Review | None:
        """Return the check that a runner applies at each exit of a batch. None: the graphs decide
        alone.
        """
        if self.rule is None and not self.policies:
            return None
        known, state = KnownFields(about), PolicyState(np.zeros(len(about), np.int64))
        state.request(strictest(policy.requests(known, None) for policy in self.policies))

        def review(
            reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
        ) -> np.ndarray:
            if guesses_EBC is None:
                return state.at_end(rows_B)
            if self.rule is not None:
                reason_B = np.where(self.agrees(guesses_EBC), reason_B, STAYS)
            return state.review(self.policies, reason_B, guesses_EBC, known, rows_B)

        return review

    def agrees(self, guesses_EBC: np.ndarray) -> np.ndarray:
        """True where the rule lets an example leave at the latest exit."""
        import torch

        so_far = self.layers[: len(guesses_EBC)]
        if so_far[-1] not in self.rule.layers:
            return np.zeros(guesses_EBC.shape[1], bool)
        rows = [i for i, layer in enumerate(so_far) if layer in self.rule.layers]
        return self.rule.decides(torch.from_numpy(guesses_EBC[rows]), None).numpy() != STAYS


def noting(decided: list[np.ndarray], review: Review | None) -> Review:
    """Wrap a review so that it first appends the graphs' decisions at each exit to a list.

    Args:
        review: None: the graphs decide alone.
    """

    def noted(
        reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
    ) -> np.ndarray:
        decided.append(reason_B)
        return reason_B if review is None else review(reason_B, guesses_EBC, rows_B)

    return noted


def would_leave(trace: Trace, decided: Sequence[np.ndarray], review: Review | None) -> Trace:
    """Return the trace that exits would give for examples that ran every layer.

    Args:
        decided: reasons at each exit, by the graphs.
        review: applied to them; None: the graphs decide alone.
    """
    *early, last = trace.guesses
    logits_BC, depth_B = trace.guesses[last].copy(), np.full(len(trace), last)
    reason_B, here_B = np.zeros(len(trace), np.int64), np.arange(len(trace))
    for number, layer in enumerate(early, start=1):
        code_B = decided[number - 1][here_B]
        if review is not None:
            guesses_EBC = np.stack([trace.guesses[k][here_B] for k in early[:number]])
            code_B = review(code_B, guesses_EBC, here_B)
        gone_B = here_B[code_B != STAYS]
        logits_BC[gone_B], depth_B[gone_B] = trace.guesses[layer][gone_B], layer
        reason_B[gone_B] = code_B[code_B != STAYS]
        here_B = here_B[code_B == STAYS]
    last_B = np.full(len(here_B), LAST_LAYER)
    reason_B[here_B] = last_B if review is None else review(last_B, None, here_B)
    tokens_LB = run_tokens(trace.tokens_LB, depth_B)
    return Trace(logits_BC, depth_B, tokens_LB, reason_B, trace.names)
