"""Scores that exit rules compute from a guess, in fp32 and by log-softmax. With p log p from
probabilities a saturated logit gives 0 x -inf, which is no number and lets nobody leave.

Shapes: ... any, E exits, B examples, C classes.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def entropy(logits_C: Float[Tensor, "... c"], normalised: bool = False) -> Float[Tensor, ...]:
    """Entropy of the class probabilities, in nats; normalised: as a share of ln C, the most there
    is."""
    log_C = logits_C.float().log_softmax(-1)
    nats = -(log_C.exp() * log_C).sum(-1)
    return nats / math.log(logits_C.shape[-1]) if normalised else nats


def lead(logits_C: Float[Tensor, "... c"]) -> Float[Tensor, ...]:
    """The probability of the likeliest class minus that of the next."""
    best_2 = logits_C.float().softmax(-1).topk(2).values
    return best_2[..., 0] - best_2[..., 1]


def mean_guess(logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "b c"]:
    """The mean of the probabilities, as logits."""
    log_EBC = logits_EBC.float().log_softmax(-1)
    return (log_EBC.logsumexp(0) - math.log(len(logits_EBC))).to(logits_EBC.dtype)
