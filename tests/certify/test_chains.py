"""The points to choose from: their order, a tau for each exit, ratios, and what starts a chain."""

from eat_lightning.certify.candidates import TAUS, cautious, chains_of
from eat_lightning.measure.settings import STATIC, Setting
from eat_lightning.model.contracts import build

RULE = {"kind": "confidence", "tau": 0.9, "layers": [2, 3, 4]}
NEVER = {"kind": "never"}


def own(reduction: dict | None = None) -> Setting:
    specs = STATIC | {"reduction": reduction or {"kind": "norm_topk", "ratio": 0.3, "layers": [2]}}
    return Setting(**{slot: build(slot, spec) for slot, spec in specs.items()})


def exits(chain: list[Setting]) -> list[dict]:
    return [point.specs["exit"] for point in chain]


def ratios(chain: list[Setting]) -> list[float]:
    return [point.specs["reduction"]["ratio"] for point in chain]


def test_a_shared_tau_is_one_chain_from_strict_to_lax():
    (chain,) = chains_of(own(), RULE, [0.8, 0.95, 0.9, 0.8])
    assert exits(chain) == [NEVER, *(RULE | {"tau": tau} for tau in (0.95, 0.9, 0.8))]


def test_the_default_taus_descend():
    assert list(TAUS) == sorted({*TAUS}, reverse=True)
    assert (TAUS[0], TAUS[-1]) == (0.999, 0.5)


def test_a_tau_for_each_exit():
    """1 - tau is 0.2 at the last exit, and half of it at each one before."""
    assert cautious(RULE, 0.8, 0.5) == RULE | {"tau": [0.95, 0.9, 0.8]}
    assert cautious(RULE, 0.8, 1.0) == RULE | {"tau": 0.8}
    assert cautious(RULE, 0.8, 0.0) == {"kind": "confidence", "tau": 0.8, "layers": [4]}
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
    assert len(chains_of(own(), RULE | {"layers": [4]}, exits="each")) == 1
    assert len(chains_of(own(), RULE, ratios=[0.2, 0.2])) == 1


def test_every_ratio_has_its_chain_from_the_runs_own_full_depth():
    chains = chains_of(own(), RULE, [0.9], ratios=[0.3, 0.5])
    assert [ratios(chain) for chain in chains] == [[0.3, 0.3], [0.3, 0.5, 0.5]]
    assert [exits(chain)[:-1] for chain in chains] == [[NEVER], [NEVER, NEVER]]
    assert len(chains_of(own(), RULE, [0.9], "each", [0.3, 0.5])) == 6
