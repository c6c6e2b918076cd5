"""Adaptivity gain: the benefit of choosing a depth per example, at equal cost.

Each exit rule is compared with the fixed-depth curve of the same weights, where all examples exit
at layer k, for each exit head k. Between two exits the curve is linear in FLOPs, which corresponds
to a random mix of the two depths. The gain is the rule's main metric minus the curve at the rule's
mean counted FLOPs. Below the cost of the first exit no fixed depth exists, so the first exit's
metric is used. A rule that costs more than the last exit, because it evaluates heads on the way, is
compared with the last exit.

Where the curve is not concave, mixing two depths that are not neighbours is better, and so is a
cheaper depth that is more accurate than a more expensive one. A second gain therefore compares with
the best random mix of any two depths of at most the same cost. The mix is chosen on the evaluated
examples, anew in each bootstrap draw, so this gain favours the mix over the rule.

Shapes: B examples, G clusters of them, R rules, K fixed depths, C classes, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.model.trace import Trace

DRAWS, LEVEL = 2000, 0.95
FIELDS = (  # of a row: over the neighbouring fixed depths, and over the best mix of any two
    *("adaptivity_gain", "adaptivity_gain_low", "adaptivity_gain_high"),
    *("mix_gain", "mix_gain_low", "mix_gain_high"),
)
CELLS = 4_000_000  # of a chunk of draws, which bounds memory
MOST_CLASSES = 20  # whose confusion matrices are kept for each example


@dataclass(frozen=True)
class Judged:
    """Answers of exit rules on a set of examples, and of every fixed depth.

    Args:
        rules: the trace of each rule, with FLOPs.
        fixed: traces in which all examples exit at one layer, in any order.
        metric: accuracy, f1 or matthews.
        cluster_B: cluster number of each example; None: every example is its own cluster.
        num_classes: minimum number of classes of the task, whether or not all occur.
    """

    rules: Sequence[Trace]
    fixed: Sequence[Trace]
    labels_B: np.ndarray
    metric: str = "accuracy"
    cluster_B: np.ndarray | None = None
    num_classes: int = 2

    @property
    def sums(self) -> np.ndarray:
        """Return counts and FLOPs of each cluster, which add up to metrics and costs:
        G x (R + K) x (C * C + 1).
        """
        both, labels_B = (*self.rules, *self.fixed), self.labels_B
        classes = [trace.logits_BC.argmax(1) for trace in both]
        largest = int(max(each_B.max() for each_B in (labels_B, *classes)))
        num_classes = max(self.num_classes, 1 + largest)
        if self.metric == "accuracy":  # right (0) or wrong: a matrix of 77 classes takes gigabytes
            classes = [(each_B != labels_B).astype(int) for each_B in classes]
            labels_B, num_classes = np.zeros_like(labels_B), 2
        # Each example's place in the confusion matrix (label x answer, flattened), and its FLOPs.
        cells = [labels_B * num_classes + each_B for each_B in classes]
        ones = np.eye(num_classes**2)[np.stack(cells, axis=1)]
        flops = np.stack([trace.flops_B for trace in both], axis=1)
        per_example = np.concatenate([ones, flops[..., None]], axis=-1)
        return per_example if self.cluster_B is None else clustered(per_example, self.cluster_B)


def mean_gains(seeds: Sequence[Judged]) -> list[dict[str, float]]:
    """Return the gains of each rule as `FIELDS`: fractions of the metric with paired bootstrap
    intervals, averaged over runs with different seeds on the same examples.

    Examples (whole clusters) are resampled, identically for rules, fixed depths, runs, metrics and
    costs, and runs are averaged within each draw. The interval covers the middle 95 % of draws. It
    reflects the choice of examples for these runs, not the choice of seeds.
    """
    wholes, drawns = [], []  # of each seed: 2 x R, and of each draw: D x 2 x R
    for judged in seeds:
        sums, num_rules, metric = judged.sums, len(judged.rules), judged.metric
        wholes.append(gains(sums.sum(0)[None], num_rules, metric)[0])
        drawns.append(bootstrapped(sums, num_rules, metric))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(np.mean(drawns, axis=0), [tail, 100 - tail], axis=0)
    found = np.stack([np.mean(wholes, axis=0), low, high], axis=-1)  # 2 x R x 3
    found = np.moveaxis(found, 1, 0).reshape(-1, len(FIELDS))
    return [dict(zip(FIELDS, rule, strict=True)) for rule in found.tolist()]


def clustered(per_example: np.ndarray, cluster_B: np.ndarray) -> np.ndarray:
    """Return the sums over each cluster's examples."""
    _, place_B = np.unique(cluster_B, return_inverse=True)
    per_cluster = np.zeros((place_B.max() + 1, *per_example.shape[1:]))
    np.add.at(per_cluster, place_B, per_example)
    return per_cluster


def bootstrapped(per_cluster: np.ndarray, num_rules: int, metric: str) -> np.ndarray:
    """Return gains (D x 2 x R) of clusters drawn with replacement. Every call draws the
    same ones.
    """
    num, *shape = per_cluster.shape
    flat, found, rng = per_cluster.reshape(num, -1), [], np.random.default_rng(0)
    for start in range(0, DRAWS, size := max(1, CELLS // num)):
        count = min(size, DRAWS - start)
        chosen = rng.integers(0, num, (count, num)) + num * np.arange(count)[:, None]
        times_DG = np.bincount(chosen.ravel(), minlength=count * num).reshape(count, num)
        found.append(gains((times_DG @ flat).reshape(count, *shape), num_rules, metric))
    return np.concatenate(found)


def gains(sums: np.ndarray, num_rules: int, metric: str) -> np.ndarray:
    """Return gains over neighbouring depths and over the best mix (D x 2 x R).

    Args:
        sums: confusion counts and FLOPs, D x (R + K) x (C * C + 1).
    """
    num_classes = round((sums.shape[-1] - 1) ** 0.5)
    matrix = sums[..., :-1].reshape(*sums.shape[:-1], num_classes, num_classes)
    score = METRICS[metric](matrix)
    flops_DK, order = sums[:, num_rules:, -1], np.argsort(sums[:, num_rules:, -1], kind="stable")
    fixed = (np.take_along_axis(x, order, 1) for x in (flops_DK, score[:, num_rules:]))
    flops_DK, score_DK = fixed
    at = [sums[:, r, -1] for r in range(num_rules)]
    curves = [[curve(flops_DK, score_DK, at_D) for at_D in at] for curve in (neighbours, best_mix)]
    return score[:, None, :num_rules] - np.moveaxis(np.array(curves), -1, 0)


def neighbours(flops_DK: np.ndarray, score_DK: np.ndarray, at_D: np.ndarray) -> np.ndarray:
    """Return the score of a random mix of the two depths on either side of a cost."""
    three = zip(at_D, flops_DK, score_DK, strict=True)
    return np.array([np.interp(at, flops_K, score_K) for at, flops_K, score_K in three])


def best_mix(flops_DK: np.ndarray, score_DK: np.ndarray, at_D: np.ndarray) -> np.ndarray:
    """Return the best score of a random mix of any two depths within a cost.

    Where even the first depth costs more, its score is returned.
    """
    at_D = np.maximum(at_D, flops_DK[:, 0])
    lower, upper = flops_DK[:, :, None], flops_DK[:, None, :]
    room, span = at_D[:, None, None] - lower, upper - lower
    share = np.where(span > 0, np.clip(room / np.where(span > 0, span, 1), 0, 1), 0)
    mixed = score_DK[:, :, None] + share * (score_DK[:, None, :] - score_DK[:, :, None])
    return np.where(room >= 0, mixed, -np.inf).max((1, 2))


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Accuracy of confusion matrices (... x labels x answers)."""
    return np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum((-2, -1))


def f1(matrix: np.ndarray) -> np.ndarray:
    """F1 of class 1 for binary tasks, else macro F1 over the classes that occur as
    label or answer.
    """
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    both = matrix.sum(-1) + matrix.sum(-2)  # examples and answers of each class
    f1_C = ratio(2 * right, both)
    return f1_C[..., 1] if matrix.shape[-1] == 2 else ratio(f1_C.sum(-1), (both > 0).sum(-1))


def matthews(matrix: np.ndarray) -> np.ndarray:
    """Matthews correlation for any number of classes (Gorodkin 2004)."""
    total, right = matrix.sum((-2, -1)), np.trace(matrix, axis1=-2, axis2=-1)
    labels, answers = matrix.sum(-1), matrix.sum(-2)
    spread = (total**2 - (answers**2).sum(-1)) * (total**2 - (labels**2).sum(-1))
    return ratio(right * total - (labels * answers).sum(-1), np.sqrt(spread))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, with 0 where the denominator is 0, as torchmetrics does."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


METRICS = {"accuracy": accuracy, "f1": f1, "matthews": matthews}
