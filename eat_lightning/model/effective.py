"""Weights that act in place of an encoder's (`Objective.effective_weights`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from eat_lightning.model.contracts import Objective
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.options import USUAL, PassOptions
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace


def with_weights(
    encoder: AdaptiveEncoder,
    weights: dict[str, Tensor],
    batch: Batch,
    options: PassOptions = USUAL,
) -> Trace:
    """A pass with these weights in place of the encoder's of their names, which they may differ
    from in size: a layer with the weights of a narrower one is that layer."""
    if not weights:
        return encoder(batch, options)
    return functional_call(encoder, weights, (batch, options))


def bake_weights(objective: Objective, encoder: AdaptiveEncoder) -> None:
    """Write an objective's effective weights, as they act outside training, into the encoder."""
    training, parameters = encoder.training, dict(encoder.named_parameters())
    with torch.no_grad():
        for name, weight in objective.effective_weights(encoder.eval()).items():
            parameters[name].copy_(weight)
    encoder.train(training)
