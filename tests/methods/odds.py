"""Guesses of exits by their probabilities, for tests."""

import math

import torch
from torch import Tensor


def guesses(*exits: list[float]) -> Tensor:
    """Logits of two classes, by the probability of the first, for each exit and example."""
    first_EB = torch.tensor(exits, dtype=torch.float64).logit().float()
    return torch.stack([first_EB, torch.zeros_like(first_EB)], -1)


def labelled(*exits: list[float]) -> Tensor:
    """Logits of one example, by the probability of each label at each exit."""
    return torch.tensor(exits).logit()[:, None]


def bits(p: float) -> float:
    """Entropy of two probabilities."""
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)
