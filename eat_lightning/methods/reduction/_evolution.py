"""Length-Adaptive Transformer's evolutionary search (Kim and Cho 2021).

A configuration is the share of an example's tokens that is left behind each layer, which never
rises. Those that no other beats in both cost and score are kept; parents are taken from their
convex hull. Children are parents with some layers drawn anew between their neighbours, or the mean
of two parents.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Shares = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """A configuration, or the knob's point that it stands for, with its cost and its score."""

    point: Sequence[float]
    cost: float
    score: float


def evolve(
    evaluate: Callable[[Shares], tuple[float, float]],
    num_layers: int,
    least: float,
    start: int = 20,
    iterations: int = 30,
    mutations: int = 30,
    crossovers: int = 30,
    seed: int = 0,
) -> list[Found]:
    """Configurations of growing cost and score, from `start` constant ratios between `least` (the
    share that a layer leaves at least) and 1, and then children of them in each iteration.

    evaluate: the cost and the score of a configuration.
    """
    draw, known = random.Random(seed), {}
    ratios = [least + (1 - least) * k / max(start - 1, 1) for k in range(start)]
    wanted = [tuple(ratio ** (k + 1) for k in range(num_layers)) for ratio in ratios]
    for iteration in range(iterations + 1):
        for shares in wanted:
            if shares not in known:
                known[shares] = Found(shares, *evaluate(shares))
        best = pareto([*known.values()])
        parents = [found.point for found in hull(best)]
        if iteration < iterations:
            wanted = [mutated(draw.choice(parents), least, draw) for _ in range(mutations)]
            pairs = [(draw.choice(parents), draw.choice(parents)) for _ in range(crossovers)]
            wanted += [crossed(one, other) for one, other in pairs]
    return best


def pareto(found: list[Found]) -> list[Found]:
    """Return the configurations that no other beats in both cost and score, by growing cost."""
    best: list[Found] = []
    for each in sorted(found, key=lambda f: (f.cost, -f.score)):
        if not best or each.score > best[-1].score:
            best.append(each)
    return best


def hull(best: list[Found]) -> list[Found]:
    """The corners of a Pareto set's upper convex hull: slopes fall from one to the next."""
    corners: list[Found] = []
    for each in best:
        while len(corners) > 1 and slope(corners[-2], each) >= slope(corners[-2], corners[-1]):
            corners.pop()
        corners.append(each)
    return corners


def slope(left: Found, right: Found) -> float:
    return (right.score - left.score) / (right.cost - left.cost)


def mutated(parent: Sequence[float], least: float, draw: random.Random) -> Shares:
    """Each layer with probability 1/2 anew, between what the layer behind it leaves and what the
    one before it left, and at least `least` of that."""
    shares = list(parent)
    for k in range(len(shares)):
        before = shares[k - 1] if k else 1.0
        behind = shares[k + 1] if k + 1 < len(shares) else 0.0
        if draw.random() < 0.5:
            shares[k] = draw.uniform(max(behind, least * before), before)
        shares[k] = max(shares[k], least * before)
    return tuple(shares)


def crossed(one: Sequence[float], other: Sequence[float]) -> Shares:
    return tuple((a + b) / 2 for a, b in zip(one, other, strict=True))
