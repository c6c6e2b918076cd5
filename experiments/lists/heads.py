"""Heads of every depth that learn a cross-encoder's scores from kept vectors, without a label.

Shapes: Q lists, N candidates of each, E depths before the last layer, D width, R of the features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eat_lightning.train.one_pass import one_cycle

WIDTH, EPOCHS, LR, DECAY, DROPOUT, LISTS = 256, 12, 1e-3, 0.05, 0.1, 4


@dataclass(frozen=True)
class KeptLists:
    """Kept vectors of some lists (see `vectors`), and (lists, candidates) of everything else."""

    F: np.ndarray
    score: np.ndarray
    tokens: np.ndarray
    prior: np.ndarray
    grade: np.ndarray

    @classmethod
    def read(cls, path: Path) -> KeptLists:
        with np.load(path) as kept:
            return cls(*(kept[field.name] for field in fields(cls)))

    def __len__(self) -> int:
        return len(self.score)

    def part(self, rows: np.ndarray) -> KeptLists:
        return KeptLists(*(getattr(self, field.name)[rows] for field in fields(self)))


def features(kept: KeptLists, rows: np.ndarray) -> Tensor:
    """Give [u, v, |u - v|, u * v] of query and passage, and the first stage's score as a z-score
    of its list (Q x N x E x R)."""
    u, v = torch.from_numpy(kept.F[rows]).float().unbind(3)
    u, v = F.layer_norm(u, u.shape[-1:]), F.layer_norm(v, v.shape[-1:])
    prior = torch.from_numpy(kept.prior[rows]).float()
    prior = (prior - prior.mean(1, keepdim=True)) / (prior.std(1, keepdim=True) + 1e-6)
    prior_QNE1 = prior[:, :, None, None].expand(*u.shape[:3], 1)
    return torch.cat([u, v, (u - v).abs(), u * v, prior_QNE1], -1)


class ListHeads(nn.Module):
    """Dense, tanh, one score at each depth."""

    def __init__(self, depths: int, width: int):
        super().__init__()
        self.dense_ERW = nn.Parameter(torch.randn(depths, width, WIDTH) * width**-0.5)
        self.dense_EW = nn.Parameter(torch.zeros(depths, WIDTH))
        self.out_EW = nn.Parameter(torch.randn(depths, WIDTH) * 0.1 * WIDTH**-0.5)
        self.out_E = nn.Parameter(torch.zeros(depths))

    def forward(self, read: Tensor) -> Tensor:
        read = F.dropout(read, DROPOUT, self.training)
        hidden = torch.tanh(torch.einsum("qner,erw->qnew", read, self.dense_ERW) + self.dense_EW)
        hidden = F.dropout(hidden, DROPOUT, self.training)
        return torch.einsum("qnew,ew->qne", hidden, self.out_EW) + self.out_E


def trained(kept: KeptLists, by_order: bool) -> ListHeads:
    """Learn the standardised score by its squared error and, `by_order`, the softmax over the
    list (ListNet, Cao et al. 2007)."""
    torch.manual_seed(0)
    goal_QN = torch.from_numpy((kept.score - kept.score.mean()) / kept.score.std())
    heads = ListHeads(kept.F.shape[2], 4 * kept.F.shape[-1] + 1)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=LR, weight_decay=DECAY)
    steps = EPOCHS * (len(kept) // LISTS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: one_cycle(k, steps))
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(kept))
        for start in range(0, len(order) - LISTS + 1, LISTS):
            rows = order[start : start + LISTS]
            guess = heads(features(kept, rows))
            goal = goal_QN[rows][:, :, None].expand_as(guess)
            loss = F.mse_loss(guess, goal)
            if by_order:
                loss = loss + order_loss(guess, goal)
            optimizer.zero_grad()
            (loss * guess.shape[-1]).backward()
            optimizer.step()
            schedule.step()
    return heads.eval()


def order_loss(guess_QNE: Tensor, goal_QNE: Tensor) -> Tensor:
    """Divergence of the softmax over each list, at half of its spread as temperature."""
    scale = 2 / goal_QNE.std(1, keepdim=True)
    guess, goal = (scale * guess_QNE).log_softmax(1), (scale * goal_QNE).softmax(1)
    return F.kl_div(guess, goal, reduction="none").sum(1).mean()


def scores(heads: ListHeads, kept: KeptLists) -> np.ndarray:
    """Scores of every depth, the model's own last (E + 1 x Q N)."""
    with torch.no_grad():
        found = torch.cat([heads(features(kept, np.array([row]))) for row in range(len(kept))])
    early = found.permute(2, 0, 1).numpy()
    return np.concatenate([early, kept.score[None]]).reshape(len(early) + 1, -1)
