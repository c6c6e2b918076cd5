"""The cheapest certified point, on losses that a person can check."""

import numpy as np
import pytest
from helpers.certificates import RULE, own

from eat_lightning.deploy.certify.candidates import chains_of
from eat_lightning.deploy.certify.select import Target, choose, in_units
from eat_lightning.record.claim import Claim
from eat_lightning.record.measured import Measured

CHAIN = [
    [Measured(point, cost=point.methods["exit"].arguments.get("tau", 1.0)) for point in chain]
    for chain in chains_of(own(), RULE, [0.9, 0.8, 0.7])
]


def target(risk="harm", level: float = 0.01, confidence: float = 0.9) -> Target:
    return Target(Claim(risk, level, confidence, 1), "harm")


def losses(*failures: int, num: int) -> np.ndarray:
    return np.stack([(np.arange(num) < count).astype(float) for count in failures])


def chosen(*failures: int, num: int, **how):
    wanted = target(**how)
    return choose(CHAIN, [losses(*failures, num=num)], wanted, np.arange(num))


def test_the_laxest_point_that_holds():
    choice = chosen(0, 2, 4, 5, num=872)
    assert choice.candidate.point.methods["exit"].arguments["tau"] == 0.8
    assert (choice.fallback, choice.certified, choice.reason) == (False, True, "")
    assert choice.seen["risk"] == pytest.approx(4 / 872)
    sizes = [choice.seen[key] for key in ("num_examples", "num_units", "num_chains", "needed")]
    assert sizes == [872, 872, 1, 230]


def test_the_cheapest_of_all_chains():
    chains = [
        [Measured(point, cost=1 - point.methods["reduction"].arguments["ratio"]) for point in chain]
        for chain in chains_of(own(), RULE, [0.9], ratios=[0.3, 0.5])
    ]
    held = [losses(0, 1, num=1000), losses(0, 0, 1, num=1000)]
    choice = choose(chains, held, target(), np.arange(1000))
    assert choice.candidate.point.methods["reduction"].arguments["ratio"] == 0.5
    assert choice.seen["num_chains"] == 2


@pytest.mark.parametrize(
    ("failures", "num", "how", "reason"),
    [
        (
            (0, 0, 0, 0),
            229,
            {},
            "229 examples are too few: 1 % at 90 % confidence takes 230 if none fails (half of "
            "data.calibration is for certificates, so train with a larger one)",
        ),
        (
            (0, 5, 5, 5),
            872,
            {},
            "at tau 0.9 5 of 872 examples fail, and 1 % at 90 % confidence allows 4",
        ),
        (
            (9, 9, 9, 9),
            872,
            {"risk": "false_negatives"},
            "at full depth itself 9 of 872 examples fail, and 1 % at 90 % confidence allows 4",
        ),
        ((0, 20, 20, 20), 1000, {"risk": "accuracy_gap"}, "at tau 0.9 the risk is 2.00 % on 1000"),
        ((0, 0, 0, 0), 0, {}, "0 examples are too few"),
    ],
)
def test_full_depth_with_a_reason(failures: tuple, num: int, how: dict, reason: str):
    choice = chosen(*failures, num=num, **how)
    assert choice.fallback
    assert choice.candidate is CHAIN[0][0]
    assert choice.reason.startswith(reason)


def test_units_are_groups_without_those_the_risk_is_not_about():
    one, nan = 1.0, np.nan
    losses_TB = np.array([[0, nan, one, one, 0], [one, nan, one, one, 0]])
    units_TU = in_units(losses_TB, np.array([7, 7, 3, 5, 3]))
    assert sorted(map(tuple, units_TU.T)) == [(0, 1), (0.5, 0.5), (1, 1)]


def test_the_order_of_units_is_random_and_fixed():
    ordered = losses(50, num=100)
    once, again = (in_units(ordered, np.arange(100)) for _ in range(2))
    assert np.array_equal(once, again)
    assert 10 < once[0, :50].sum() < 40


def test_groups_are_counted_as_groups():
    """690 pairs on 230 premises are 230 units; their means are no longer 0 or 1, so that a bound
    for bounded losses is taken, which wants a little more."""
    held, groups = [losses(0, 0, 0, 0, num=690)], np.arange(690) // 3
    choice = choose(CHAIN, held, target(), groups)
    assert choice.reason.startswith("230 groups are too few: 1 % at 90 % confidence takes 2")
    assert 230 < choice.seen["needed"] < 300
    choice = choose(CHAIN, held, target(level=0.02), groups)
    assert (choice.fallback, choice.seen["num_units"], choice.seen["num_examples"]) == (
        False,
        230,
        690,
    )
