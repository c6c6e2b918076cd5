"""Heads on kept vectors, with what may make them better: one batched product for all exits.

Shapes: B examples, N of a split, E early exits, W width of their features, H hidden width,
C classes, T tokens of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.data.batching import spread_rows
from eat_lightning.data.split import Tokens
from eat_lightning.errors import ConfigError
from eat_lightning.train.one_pass import SAMPLE, one_cycle

BATCH, DROPOUT, LR, DECAY, FLOOR = 128, 0.2, 1e-3, 0.05, 0.1


@dataclass(frozen=True)
class Texts:
    """Features, goals and tokens of a split's texts.

    Args:
        features_NEW: float16, standardised.
        full_NC: logits of full depth, which the heads learn.
        tokens: of each text.
    """

    features_NEW: np.ndarray
    full_NC: np.ndarray
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.full_NC)

    def first(self, count: int) -> Texts:
        """The first texts, which lie in random order."""
        end = self.tokens.offsets[count]
        tokens = Tokens(
            self.tokens.ids[:end], self.tokens.types[:end], self.tokens.offsets[: count + 1]
        )
        return Texts(self.features_NEW[:count], self.full_NC[:count], tokens)

    def bag(self, rows_B: np.ndarray) -> tuple[Tensor, Tensor]:
        """The token ids of some texts end to end, and where each begins."""
        parts = [self.tokens.ids[slice(*self.tokens.offsets[[i, i + 1]])] for i in rows_B]
        starts = np.cumsum([0, *map(len, parts[:-1])])
        return torch.from_numpy(np.concatenate(parts).astype(np.int64)), torch.from_numpy(starts)


class Heads(nn.Module):
    """Dense, tanh, classes at each exit. words: of a vocabulary, whose mean weights are added to
    the logits of the first exit; 0: none."""

    def __init__(self, exits: int, width: int, hidden: int, classes: int, words: int = 0):
        super().__init__()
        self.dense_EWH = nn.Parameter(torch.randn(exits, width, hidden) * 0.5 / width**0.5)
        self.dense_E1H = nn.Parameter(torch.zeros(exits, 1, hidden))
        self.classes_EHC = nn.Parameter(torch.randn(exits, hidden, classes) * 0.1 / hidden**0.5)
        self.classes_E1C = nn.Parameter(torch.zeros(exits, 1, classes))
        self.words = nn.EmbeddingBag(words, classes, mode="mean") if words else None
        if self.words is not None:
            nn.init.zeros_(self.words.weight)

    def forward(self, texts: Texts, rows_B: np.ndarray) -> Float[Tensor, "e b c"]:
        x_EBW = torch.from_numpy(texts.features_NEW[rows_B]).float().transpose(0, 1)
        x_EBW = F.dropout(x_EBW, DROPOUT, self.training)
        hidden_EBH = torch.tanh(x_EBW @ self.dense_EWH + self.dense_E1H)
        logits_EBC = F.dropout(hidden_EBH, DROPOUT, self.training) @ self.classes_EHC
        logits_EBC = logits_EBC + self.classes_E1C
        if self.words is None:
            return logits_EBC
        return torch.cat([logits_EBC[:1] + self.words(*texts.bag(rows_B)), logits_EBC[1:]])


class ClassMeans(nn.Module):
    """Distance to the mean of each class, with nothing to train but a scale (HatePrototypes,
    2511.06391): the logits are -s |x - mean|^2 / W, classes being full depth's answers."""

    def __init__(self, texts: Texts):
        super().__init__()
        answers_N, classes = texts.full_NC.argmax(1), range(texts.full_NC.shape[1])
        if missing := [c for c in classes if not (answers_N == c).any()]:
            raise ConfigError(f"class {missing[0]}: none of {len(texts)} texts has this answer")
        means = [texts.features_NEW[answers_N == c].mean(0, dtype=np.float32) for c in classes]
        self.mean_CEW = torch.from_numpy(np.stack(means))
        self.scale_E = torch.ones(len(self.mean_CEW[0]))
        some = spread_rows(len(texts), SAMPLE)
        answers, logits_EBC = torch.from_numpy(answers_N[some]), self(texts, some)
        self.scale_E = torch.stack([best_scale(logits, answers) for logits in logits_EBC])

    def forward(self, texts: Texts, rows_B: np.ndarray) -> Float[Tensor, "e b c"]:
        x_EBW = torch.from_numpy(texts.features_NEW[rows_B]).float().transpose(0, 1)
        squared_EBC = torch.cdist(x_EBW, self.mean_CEW.transpose(0, 1)).square()
        return -self.scale_E[:, None, None] * squared_EBC / x_EBW.shape[-1]


def best_scale(logits_BC: Tensor, answers_B: Tensor) -> Tensor:
    """Find the scale of least cross-entropy on a grid."""
    scales = torch.logspace(-1, 3, 81)
    losses = [float(F.cross_entropy(scale * logits_BC, answers_B)) for scale in scales]
    return scales[int(np.argmin(losses))]


def trained(
    texts: Texts, hidden: int, epochs: int, words: int = 0, weight_EN: np.ndarray | None = None
) -> Heads:
    """Learn full depth's probabilities by cross-entropy, as `model=eat_heads` does. weight_EN: of
    each text at each exit, 1 in mean; None: 1."""
    torch.manual_seed(0)
    exits, width = texts.features_NEW.shape[1:]
    heads = Heads(exits, width, hidden, texts.full_NC.shape[1], words)
    groups: list[Any] = [{"params": [p for p in heads.parameters() if p.ndim > 2]}]
    groups += [{"params": heads.words.parameters(), "lr": 10 * LR}] if heads.words else []
    optimizer = torch.optim.AdamW(groups, lr=LR, weight_decay=DECAY)
    steps = epochs * -(-len(texts) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: one_cycle(k, steps))
    goal_NC = torch.from_numpy(texts.full_NC).softmax(-1)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(texts))
        for rows_B in np.split(order, range(BATCH, len(order), BATCH)):
            log_EBC = heads(texts, rows_B).log_softmax(-1)
            loss_EB = -(goal_NC[rows_B] * log_EBC).sum(-1)
            if weight_EN is not None:
                loss_EB = loss_EB * torch.from_numpy(weight_EN[:, rows_B]).float()
            optimizer.zero_grad()
            loss_EB.mean(1).sum().backward()
            optimizer.step()
            schedule.step()
    return heads.eval()


def guesses(heads: nn.Module, texts: Texts) -> np.ndarray:
    """Logits of all texts (E x N x C)."""
    batches = np.split(np.arange(len(texts)), range(1024, len(texts), 1024))
    with torch.inference_mode():
        return torch.cat([heads(texts, rows_B) for rows_B in batches], 1).numpy()


def weights_of(share_EN: np.ndarray) -> np.ndarray:
    """Weights by how likely each text is met at each exit: at least `FLOOR`, 1 in mean."""
    weight_EN = FLOOR + (1 - FLOOR) * share_EN
    return weight_EN / weight_EN.mean(1, keepdims=True)
