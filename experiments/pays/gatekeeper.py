"""Gatekeeper (Rabanser et al. 2025, 2502.19335): a small model's last head, tuned to defer.

Where the head is right on a training text it learns the label by cross-entropy, where it is wrong
the even distribution: L = alpha x CE over the right + (1 - alpha) x KL(p || even) over the wrong,
both divided by all texts. Here the head alone moves, on the vectors that it reads, from one pass of
the frozen encoder; alpha is chosen on the cut.

Shapes: B examples, W width of the features, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.record.passes import inference

from .models import Model
from .systems import Chain, Part

TEXTS, EPOCHS, BATCH, LR = 16_000, 3, 128, 1e-4
ALPHAS = (0.1, 0.3, 0.5, 0.7, 0.9)


def gatekeeper(first: Model, second: Model, full_cost: float, budgets: Sequence[float]) -> Chain:
    """The cascade whose alpha is the most accurate on the cut, in the mean over the costs asked."""

    def score(chain: Chain) -> float:
        points = chain.dial.points
        cheap = [[p for p in points if p.cost <= budget] for budget in budgets]
        return sum(within[0].accuracy for within in cheap if within)

    found = [
        Chain(f"Gatekeeper, alpha {alpha:g}", [Part.end(model), Part.end(second)], full_cost)
        for alpha, model in tuned_models(first)
    ]
    return max(found, key=score)


def tuned_models(model: Model) -> Iterator[tuple[float, Model]]:
    """The model with its last head tuned at each alpha; its encoder, and so its costs, stay."""
    data = model.run.data()
    train = data.split("train")
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:TEXTS])
    x_BW, labels_B = features(model, train.take(rows)), torch.from_numpy(train.labels[rows])
    cut_BW = torch.cat([features(model, data.split(part)) for part in FITTED_ON])
    dev_BW = features(model, data.split("validation"))
    for alpha in ALPHAS:
        head = tuned(model.encoder.heads[str(model.last)], x_BW, labels_B, alpha)
        with torch.inference_mode():
            cut_BC, dev_BC = (head.guess(head.of_features(x)).numpy() for x in (cut_BW, dev_BW))
        cut, dev = (
            replace(said, guesses=said.guesses | {model.last: logits_BC})
            for said, logits_BC in ((model.cut, cut_BC), (model.dev, dev_BC))
        )
        yield alpha, replace(model, cut=cut, dev=dev)


def features(model: Model, split: Any) -> Float[Tensor, "b w"]:
    """Run the encoder once: the features that its last head's first linear layer reads."""
    heads: Any = model.encoder.heads
    seen: list[Tensor] = []
    hook = heads[str(model.last)].first.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].clone())
    )
    batches = sorted_batches(split.lengths, 64)
    with inference(model.encoder):
        for rows_B in batches:
            model.encoder(split.batch(rows_B), ALL_EXITS)
    hook.remove()
    return torch.cat(seen)[torch.from_numpy(np.argsort(np.concatenate(batches)))]


def tuned(head: Any, x_BW: Tensor, labels_B: Tensor, alpha: float) -> Any:
    """A copy of a head after `EPOCHS` of Gatekeeper's loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = copy.deepcopy(head).train()
        steps = EPOCHS * -(-len(x_BW) // BATCH)
        optimizer = torch.optim.AdamW(made.parameters(), lr=LR, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(EPOCHS):
            for rows_B in torch.randperm(len(x_BW)).split(BATCH):
                optimizer.zero_grad()
                guess_BC = made.guess(made.of_features(x_BW[rows_B]))
                loss(guess_BC, labels_B[rows_B], alpha).backward()
                optimizer.step()
                schedule.step()
    return made.eval()


def loss(
    logits_BC: Float[Tensor, "b c"], labels_B: Int[Tensor, " b"], alpha: float
) -> Float[Tensor, ""]:
    """Gatekeeper's loss."""
    log_BC = logits_BC.log_softmax(-1)
    right_B = logits_BC.argmax(-1) == labels_B
    missed_B = F.nll_loss(log_BC, labels_B, reduction="none")
    # KL(p || even) = ln C - H(p)
    certain_B = np.log(log_BC.shape[1]) + (log_BC.exp() * log_BC).sum(-1)
    return torch.where(right_B, alpha * missed_B, (1 - alpha) * certain_B).mean()
