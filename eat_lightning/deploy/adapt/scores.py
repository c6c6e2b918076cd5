"""Scores of early exits on the scale of the original's.

An exit's temperature makes its confidence the chance that full depth says the same, by which texts
leave. That is no probability of the original's: of one that is never sure, exits are. So what a
text leaves with is multiplied by a number of its layer, which changes no answer:

    s_k = argmin_s  sum over texts that leave at k of KL(softmax(original) || softmax(s z_k))

(temperature scaling, Guo et al. 2017, with the original's probabilities as targets).

Shapes: N texts, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from eat_lightning.model.trace import Trace

FEW = 30  # texts of a layer: with fewer it has the number of all early layers together
BOUND = 5.0  # of the logarithm of s


def score_scales(trace: Trace, original_NC: np.ndarray, num_layers: int) -> dict[str, float]:
    """Return s by layer, for the layers before the last at which texts leave."""
    depth_N = trace.depth_B
    early_N = depth_N < num_layers
    if early_N.sum() < FEW:
        return {}
    together = scale(trace.logits_BC[early_N], original_NC[early_N])
    found = {}
    for layer in np.unique(depth_N[early_N]).tolist():
        here_N = depth_N == layer
        enough = here_N.sum() >= FEW
        s = scale(trace.logits_BC[here_N], original_NC[here_N]) if enough else together
        found[str(layer)] = round(s, 4)
    return found


def scale(logits_NC: np.ndarray, original_NC: np.ndarray) -> float:
    """The number by which logits come nearest to the original's probabilities."""
    target_NC = softmax(original_NC.astype(np.float64), axis=-1)

    def loss(log_s: float) -> float:
        guess_NC = log_softmax(np.exp(log_s) * logits_NC.astype(np.float64), axis=-1)
        return -float((target_NC * guess_NC).sum(-1).mean())

    found: Any = minimize_scalar(loss, bounds=(-BOUND, BOUND), method="bounded")
    return float(np.exp(found.x))
