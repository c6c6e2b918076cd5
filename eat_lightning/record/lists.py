"""Lists: the candidates of a query leave between layers by their place among each other.

Behind some depths the best candidates of each list go on, by the scores that the head there gives
(Cascade Transformer, Soldaini and Moschitti 2020); the others keep the place that they have. Scores
of two depths are never compared: who got further stands before.

Shapes: B candidates of all lists of a batch, G of a part, L layers, C columns of logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from eat_lightning.model.reason import FIRST_REASON, Reason, reason_names
from eat_lightning.model.trace import Trace, run_tokens

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

REASONS = ("outranked",)
Counts = Mapping[int, int]  # a schedule: candidates that go on behind each depth


def goes_on(
    counts: Counts, depth: int, score_G: Float[np.ndarray, " g"], list_G: Int[np.ndarray, " g"]
) -> Bool[np.ndarray, " g"]:
    """True for candidates that go on behind a depth. Of equal scores the first stands before; a
    list with no more candidates than the depth's count goes on whole.

    Args:
        list_G: numbers of the lists, ascending.
    """
    if depth not in counts:
        return np.ones(len(score_G), bool)
    return places(-score_G, list_G) < counts[depth]


def list_trace(
    counts: Counts,
    guesses: Mapping[int, Float[np.ndarray, "b c"]],
    tokens_LB: Int[np.ndarray, "l b"],
    list_B: Int[np.ndarray, " b"],
) -> Trace:
    """Where each candidate would leave, by its scores at all depths.

    Args:
        guesses: by depth; the first column orders.
        tokens_LB: entering each layer when nobody leaves.
        list_B: numbers of the lists, ascending.
    """
    last = len(tokens_LB)
    logits_BC = guesses[last].copy()
    depth_B, here_G = np.full(len(list_B), last), np.arange(len(list_B))
    for depth in sorted(depth for depth in counts if depth < last):
        stays_G = goes_on(counts, depth, guesses[depth][here_G, 0], list_B[here_G])
        gone_G = here_G[~stays_G]
        depth_B[gone_G], logits_BC[gone_G] = depth, guesses[depth][gone_G]
        here_G = here_G[stays_G]
    return Trace(
        logits_BC=logits_BC,
        depth_B=depth_B,
        tokens_LB=run_tokens(tokens_LB, depth_B),
        reason_B=np.where(depth_B < last, FIRST_REASON, int(Reason.LAST_LAYER)),
        names=reason_names(REASONS),
    )


def ranks(trace: Trace, list_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
    """Place of each candidate within its list, 0 for the best.

    Args:
        list_B: ascending.
    """
    order_B = np.lexsort((-trace.logits_BC[:, 0], -trace.depth_B, list_B))
    return numbered(order_B, list_B)


def places(key_B: Float[np.ndarray, " b"], list_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
    """Place of each candidate within its list by a key, the smallest first.

    Args:
        list_B: ascending.
    """
    return numbered(np.lexsort((key_B, list_B)), list_B)


def numbered(
    order_B: Int[np.ndarray, " b"], list_B: Int[np.ndarray, " b"]
) -> Int[np.ndarray, " b"]:
    """Number the candidates of each list in an order that holds its lists one after another."""
    first_B = np.searchsorted(list_B, list_B)
    place_B = np.empty(len(order_B), int)
    place_B[order_B] = np.arange(len(order_B))
    return place_B - first_B
