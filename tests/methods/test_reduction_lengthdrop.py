"""LengthDrop: drawn lengths in training, given ones outside, and the search, by hand."""

import torch
from helpers.models import packed

from eat_lightning.methods.reduction._evolution import Found, evolve, hull, pareto
from eat_lightning.methods.reduction.lengthdrop import LengthDrop
from eat_lightning.model.evidence import Evidence


def lengths(made: LengthDrop, given: list[int], strength: float = 1.0) -> list[int]:
    rows = packed([[0.0]] * sum(given), given, strength)
    evidence = Evidence(received_N=torch.rand(sum(given)))
    return made(rows, evidence, 1).layout.lengths_B.tolist()


def test_outside_training_the_ratio_leaves():
    made = LengthDrop(ratio=0.2, layers=[1])
    assert lengths(made, [10, 11, 4, 1]) == [8, 9, 4, 1]  # ceil(0.8 n)
    assert lengths(LengthDrop(ratio=0.9, layers=[1]), [10, 2, 1]) == [2, 2, 1]  # 2 at least
    assert lengths(made, [10], strength=0.5) == [9]


def test_in_training_lengths_are_uniform_between_the_least_and_all():
    torch.manual_seed(0)
    made = LengthDrop(ratio=0.2, layers=[1]).train()
    drawn = [lengths(made, [10])[0] for _ in range(600)]
    assert {n: 150 < drawn.count(n) < 250 for n in (8, 9, 10)} == {8: True, 9: True, 10: True}
    assert set(drawn) == {8, 9, 10}


def found(*points: tuple[float, float]) -> list[Found]:
    return [Found((cost,), cost, score) for cost, score in points]


def test_pareto_and_hull():
    best = pareto(found((0.5, 0.7), (0.2, 0.5), (0.6, 0.65), (0.3, 0.52), (1.0, 0.8), (0.5, 0.6)))
    assert [f.cost for f in best] == [0.2, 0.3, 0.5, 1.0]
    # From .2: slope .2 to .3, .667 to .5: .3 lies under the line between its neighbours.
    assert [f.cost for f in hull(best)] == [0.2, 0.5, 1.0]


def test_evolution_finds_what_constant_ratios_miss():
    """The first layer costs as much as the second and is worth ten times as much."""

    def evaluate(shares):
        return sum(shares) / 2, 10 * shares[0] + shares[1]

    start = evolve(evaluate, 2, 0.5, iterations=0)
    best = evolve(evaluate, 2, 0.5, iterations=20, mutations=10, crossovers=10)
    assert max(f.score for f in start if f.cost <= 0.76) < 9.2
    assert max(f.score for f in best if f.cost <= 0.76) > 10  # 1.0 and 0.5 cost .75, give 10.5
    assert best == evolve(evaluate, 2, 0.5, iterations=20, mutations=10, crossovers=10)
