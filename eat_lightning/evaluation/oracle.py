"""Oracles: upper bounds for every exit rule on the given heads.

Let z_k be the logits of the exit at layer k (the last layer L included) and y the target. An
example exits at d = min {k: argmax z_k = y}, or at L where no exit predicts y. If y is the label,
this bounds the accuracy: "any exit right" is the share of examples with such a k. If y is the last
layer's class (as in CALM, Schuster et al. 2022), no answer changes, and the mean of d is the least
depth at which that is possible.

Shapes: B examples, E exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.answer_kind import SINGLE
from eat_lightning.model.trace import run_tokens
from eat_lightning.record.record import Record


@dataclass(frozen=True)
class Oracle:
    """Result of an oracle.

    Args:
        depth_B: exit layer of each example.
        accuracy: share of examples that some exit gets right.
        depth: mean layers until the first correct exit; all layers where there is none.
        least_depth: the same, with examples that no exit gets right leaving at the first exit.
    """

    depth_B: np.ndarray
    accuracy: float
    depth: float
    least_depth: float


def oracle_exit(correct_EB: np.ndarray, layers: Sequence[int]) -> Oracle:
    """Let each example exit at the first of `layers` whose prediction is correct.

    No rule is more accurate. A rule can only be shallower by giving up correct answers, or on
    examples that no exit gets right; `least_depth` lets those leave at the first exit.

    Args:
        correct_EB: whether each exit is correct for each example.
        layers: of the exits, ascending; the last is the backbone's.

    Raises:
        ValueError: where layers do not ascend or do not match the exits.
    """
    correct_EB, layers_E = np.asarray(correct_EB, dtype=bool), np.asarray(layers)
    if correct_EB.shape[0] != len(layers_E) or np.any(np.diff(layers_E) <= 0):
        raise ValueError(f"layers must ascend, one for each exit, got {list(layers)}")
    right_B, first_B = correct_EB.any(0), layers_E[correct_EB.argmax(0)]  # 1st where none is right
    depth_B = np.where(right_B, first_B, layers_E[-1])
    return Oracle(depth_B, *(float(each_B.mean()) for each_B in (right_B, depth_B, first_B)))


def oracle_of(record: Record, wanted_B: np.ndarray | None = None) -> Oracle:
    """Oracle over all recorded exits.

    Args:
        wanted_B: target classes; None: the classes of the last layer.
    """
    layers = sorted(record.guesses)
    class_EB = np.stack([record.guesses[k].argmax(1) for k in layers])
    return oracle_exit(class_EB == (class_EB[-1] if wanted_B is None else wanted_B), layers)


def cost(record: Record, oracle: Oracle) -> float:
    """Mean token_layers: tokens summed over the layers run / (initial tokens x num_layers)."""
    tokens_LB = record.tokens_LB
    token_layers_B = run_tokens(tokens_LB, oracle.depth_B).sum(0) / tokens_LB[0]
    return float(token_layers_B.mean() / len(tokens_LB))


def oracle_lines(record: Record) -> list[str]:
    """Describe what a choice per example could reach on these heads.

    Returns no lines where answers are not classes, or with a single exit.
    """
    if len(record.guesses) < 2 or record.kind.problem_type != SINGLE:
        return []
    right, same = oracle_of(record, record.labels), oracle_of(record)
    exits, classes = len(record.guesses), next(iter(record.guesses.values())).shape[1]
    by_chance = 1 - (1 - 1 / classes) ** exits
    return [
        f"any exit right: {100 * right.accuracy:.2f} % at depth {right.depth:.2f}, token layers "
        f"{cost(record, right):.3f} (an oracle that knows the labels takes the first right exit; "
        f"{exits} random guesses would reach {100 * by_chance:.2f} %)",
        f"the last layer's answers are reachable at depth {same.depth:.2f}, token layers "
        f"{cost(record, same):.3f}",
    ]
