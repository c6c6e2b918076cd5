"""The points to choose from: their order, a tau for each exit, ratios, and what starts a chain."""

from typing import Any

import pytest
from helpers.certificates import RULE, own

from eat_lightning.deploy.certify.candidates import cautious, chains_of, is_reachable
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.specification import Specification
from eat_lightning.record.point import Point

NEVER = {"kind": "never"}


def spec(rule: Any) -> dict:
    return Specification.of("exit", rule).as_dict()


SPEC = spec(RULE)


def exits(chain: list[Point]) -> list[dict]:
    return [point.methods["exit"].as_dict() for point in chain]


def ratios(chain: list[Point]) -> list[float]:
    return [point.methods["reduction"].arguments["ratio"] for point in chain]


def test_a_shared_tau_is_one_chain_from_strict_to_lax():
    (chain,) = chains_of(own(), RULE, [0.8, 0.95, 0.9, 0.8])
    assert exits(chain) == [NEVER, *(SPEC | {"tau": tau} for tau in (0.95, 0.9, 0.8))]


def test_a_tau_for_each_exit():
    """1 - tau is 0.2 at the last exit, and half of it at each one before."""
    assert cautious(RULE, 0.8, 0.5).as_dict() == SPEC | {"tau": [0.95, 0.9, 0.8]}
    assert cautious(RULE, 0.8, 1.0).as_dict() == SPEC | {"tau": 0.8}
    assert cautious(RULE, 0.8, 0.0).as_dict() == SPEC | {"tau": 0.8, "layers": [4]}
    assert cautious(RULE, 1.0, 1.0).as_dict() == NEVER
    chains = chains_of(own(), RULE, [0.8, 0.6], "each")
    assert [exits(chain)[2]["tau"] for chain in chains] == [0.6, [0.9, 0.8, 0.6], 0.6]
    assert [exits(chain)[2]["layers"] for chain in chains] == [[2, 3, 4], [2, 3, 4], [4]]


def test_a_later_point_is_never_stricter():
    for chain in chains_of(own(), RULE, exits="each"):
        for before, after in zip(exits(chain)[1:], exits(chain)[2:], strict=False):
            assert before["layers"] == after["layers"]
            pairs = zip(taus(before), taus(after), strict=True)
            assert all(a > b for a, b in pairs)


def taus(rule: dict) -> list[float]:
    return rule["tau"] if isinstance(rule["tau"], list) else [rule["tau"]] * len(rule["layers"])


def test_equal_chains_are_one():
    """With one exit, a tau for each is a tau for all; it must not cost a share of the error."""
    assert len(chains_of(own(), Confidence(0.9, [4]), exits="each")) == 1
    assert len(chains_of(own(), RULE, ratios=[0.2, 0.2])) == 1


def test_every_ratio_has_its_chain_from_the_runs_own_full_depth():
    chains = chains_of(own(), RULE, [0.9], ratios=[0.3, 0.5])
    assert [ratios(chain) for chain in chains] == [[0.3, 0.3], [0.3, 0.5, 0.5]]
    assert [exits(chain)[:-1] for chain in chains] == [[NEVER], [NEVER, NEVER]]
    assert len(chains_of(own(), RULE, [0.9], "each", [0.3, 0.5])) == 6


@pytest.mark.parametrize(
    ("tau", "layers", "reachable"),
    [(0.9, [2, 3], True), (0.8, [2, 3], False), ([0.9, 0.8], [3, 4], True), (0.8, [4], True)],
)
def test_graphs_are_held_to_nothing_laxer(tau: float | list[float], layers: list[int], reachable):
    own = Confidence([0.9, 0.9, 0.8], [2, 3, 4])
    assert is_reachable(Confidence(tau, layers), own) == reachable
    assert is_reachable(Never(), own)
