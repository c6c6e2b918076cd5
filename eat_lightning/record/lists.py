"""Lists: the candidates of a query leave between layers by their rank among each other.

After some depths only the best candidates of each list go on, by the scores of the head there
(Cascade Transformer, Soldaini and Moschitti 2020). The others keep their rank. Scores of two depths
are never compared: a candidate that got further ranks higher.

Shapes: B candidates of all lists of a batch, G of them that are still here, L layers, C columns of
logits.
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
Counts = Mapping[int, int]  # a schedule: by depth, the candidates of a list that go on after it


def goes_on(
    counts: Counts, depth: int, score_G: Float[np.ndarray, " g"], list_G: Int[np.ndarray, " g"]
) -> Bool[np.ndarray, " g"]:
    """Return a mask of the candidates that go on after a depth. Of equal scores the first ranks
    higher. A list with no more candidates than the depth's count goes on whole.

    Args:
        list_G: number of each candidate's list, ascending.
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
    """Return the trace of a schedule, from the scores of all candidates at all depths.

    Args:
        guesses: logits by depth, whose first column is the score.
        tokens_LB: tokens entering each layer when no candidate leaves.
        list_B: number of each candidate's list, ascending.
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
    """Return the rank of each candidate within its list, 0 for the best.

    Args:
        list_B: number of each candidate's list, ascending.
    """
    order_B = np.lexsort((-trace.logits_BC[:, 0], -trace.depth_B, list_B))
    return numbered(order_B, list_B)


def places(key_B: Float[np.ndarray, " b"], list_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
    """Return the rank of each candidate within its list by a key, 0 for the smallest.

    Args:
        list_B: number of each candidate's list, ascending.
    """
    return numbered(np.lexsort((key_B, list_B)), list_B)


def numbered(
    order_B: Int[np.ndarray, " b"], list_B: Int[np.ndarray, " b"]
) -> Int[np.ndarray, " b"]:
    """Return each candidate's index within its list, for an order of the candidates that holds one
    list after another."""
    first_B = np.searchsorted(list_B, list_B)
    place_B = np.empty(len(order_B), int)
    place_B[order_B] = np.arange(len(order_B))
    return place_B - first_B
