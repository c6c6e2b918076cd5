"""Claims: losses by hand, exact bounds at numbers from the binomial, where a sequence ends; and
what a certificate of them holds for.

Shapes: D calibration samples, T points from strict to lax, U units.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pytest

from eat_lightning.errors import ConfigError
from eat_lightning.machine import MACHINE, difference, machine, quota
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.claim import (
    LOSSES,
    Claim,
    MeanLoss,
    Tally,
    allowed,
    betting,
    clopper_pearson,
    holding,
    tallied,
)
from eat_lightning.record.point import INT8_EXITS, Point

LEVEL, CONFIDENCE = 0.1, 0.9
#                 both right, harm, repaired, both wrong alike, both wrong
FULL = np.array([1, 1, 0, 0, 2])
EARLY = np.array([1, 0, 1, 0, 0])
LABEL = np.array([1, 1, 1, 1, 1])


def losses_of(loss: str, *answers: np.ndarray, label: int | None = None) -> np.ndarray:
    return Claim(loss, 0.1, 0.9, label).losses(*answers)  # pyright: ignore[reportArgumentType]


def count(claim: Claim, losses_TU: np.ndarray, binary: bool = True, num_chains: int = 1) -> int:
    """How many points hold, from the strict end."""
    p_T = claim.p_values(losses_TU, binary, num_chains)
    return len([*holding(range(len(p_T)), lambda t: p_T[t], claim.error / num_chains)])


def failing(failures: int, num: int) -> np.ndarray:
    """One point's losses."""
    return (np.arange(num) < failures).astype(float)


def test_losses_by_hand():
    assert losses_of("harm", FULL, EARLY, LABEL).tolist() == [0, 1, 0, 0, 0]
    gaps = losses_of("accuracy_gap", FULL, EARLY, LABEL)
    assert gaps.tolist() == [0, 1, -1, 0, 0]
    assert gaps.mean() == pytest.approx((FULL == LABEL).mean() - (EARLY == LABEL).mean())
    unread = np.full(5, np.nan)
    assert losses_of("disagreement", FULL, EARLY, unread).tolist() == [0, 1, 1, 0, 1]
    missed = losses_of("false_negatives", FULL, EARLY, np.array([1, 0, 1, 1, 2]), label=1)
    assert np.array_equal(missed, [0, np.nan, 0, 1, np.nan], equal_nan=True)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_what_their_facts_say(name: str):
    """Between `low` and 1, and 0 at full depth where it says so; points may come first."""
    loss, rng = LOSSES[name], np.random.default_rng(0)
    full_B, label_B = rng.integers(0, 3, (2, 200))
    early_TB = rng.integers(0, 3, (4, 200))
    losses_TB = loss.of(full_B, early_TB, label_B, 1)
    counted = losses_TB[~np.isnan(losses_TB)]
    assert losses_TB.shape == early_TB.shape
    assert {*counted} <= {loss.low, 0, 1}
    assert loss.low in counted
    at_full_depth = loss.of(full_B, full_B, label_B, 1)
    assert loss.none_at_full_depth == (not at_full_depth[~np.isnan(at_full_depth)].any())


def test_a_p_value_is_a_binomial_tail():
    chance = sum(comb(10, k) * 0.2**k * 0.8 ** (10 - k) for k in range(3))
    assert clopper_pearson(np.array(2), 10, 0.2) == pytest.approx(chance)
    assert clopper_pearson(np.array([0, 1]), 2, 0.5).tolist() == [0.25, 0.75]


def test_one_percent_takes_230_examples_at_90_percent():
    """0.99 ** 229 is 0.10011. With two chains each has 5 %: 0.99 ** 298 is 0.05003."""
    claim = Claim("harm", 0.01, 0.9)
    assert (claim.needed(), claim.needed(num_chains=2)) == (230, 299)
    assert [count(claim, np.zeros((1, num))) for num in (229, 230)] == [0, 1]
    assert [count(claim, np.zeros((1, num)), num_chains=2) for num in (298, 299)] == [0, 1]


@pytest.mark.parametrize(
    ("level", "error", "num", "most"),
    [
        *((0.01, 0.1, num, most) for num, most in ((229, -1), (230, 0), (436, 1), (5000, 40))),
        *((0.01, 0.05, num, most) for num, most in ((298, -1), (299, 0), (5000, 38))),
        (0.005, 0.05, 5000, 16),
    ],
)
def test_so_many_may_fail(level: float, error: float, num: int, most: int):
    claim = Claim("disagreement", level, 1 - error)
    assert Tally(claim, num, 0).allowed == allowed(num, level, error) == most
    for failures in {max(most, 0), most + 1}:
        assert Tally(claim, num, failures).holds == (failures <= most)
        assert count(claim, failing(failures, num)[None]) == (failures <= most)


def test_the_last_before_the_first_failure():
    points, looked_at = [0.01, 0.1, 0.2, 0.01], []
    found = [*holding(points, lambda p: looked_at.append(p) or p, 0.1)]
    assert (found, looked_at) == ([0.01, 0.1], [0.01, 0.1, 0.2])
    losses = np.stack([failing(failures, 872) for failures in (0, 3, 4, 5, 0)])
    assert count(Claim("harm", 0.01, 0.9), losses) == 3


def test_a_class_is_a_claim_of_its_own():
    claims = [Claim("disagreement", 0.5, 0.9), Claim("disagreement", 0.2, 0.9, of="yes")]
    changed_N = np.array([True, False, False, True])
    groups = {"no": np.array([True, True, False, False]), "yes": np.array([0, 0, 1, 1], bool)}
    every, yes = tallied(claims, changed_N, groups)
    assert (every.num, every.changed, yes.num, yes.changed) == (4, 2, 2, 1)
    assert Tally(claims[1], 0, 0).p_value == 1  # no text counts, so nothing is certified


def test_a_bet_by_hand():
    """One loss of 0 against a level of 0.5: bets are capped at 0.9 / 0.5, and win 0.5 of that."""
    assert betting(np.zeros(1), 0.5, 0.1) == pytest.approx(1 / (1 + 1.8 * 0.5))
    assert betting(np.ones(1), 0.5, 0.1) == 1  # never above 1
    # On losses in [-1, 1] a level of 0 is the same bound.
    assert betting(-np.ones(1), 0, 0.1, low=-1) == pytest.approx(1 / 1.9)


def test_a_gap_is_bounded_by_betting():
    """Repairs pay for harm, as no bound on harm alone would let them."""
    gap, harm = Claim("accuracy_gap", 0.01, 0.9), Claim("harm", 0.01, 0.9)
    needed = gap.needed(binary=False)
    assert 230 < needed < 300
    assert [count(gap, np.zeros((1, num)), False) for num in (needed - 1, needed)] == [0, 1]
    gaps = np.random.default_rng(0).permutation(np.repeat([1, -1, 0], [60, 60, 4880]))[None]
    assert count(gap, gaps, binary=False) == 1
    assert count(harm, gaps == 1) == 0
    assert count(gap, np.abs(gaps), binary=False) == 0


# A point whose risk is above its level by a little is where a wrong procedure fails most.
RISKS = {
    "coarse": np.array([0.0, 0.04, 0.101, 0.2, 0.4]),
    "fine": np.linspace(0.0, 0.2, 41) + 0.001,
    "rises and falls": np.array([0.02, 0.06, 0.03, 0.101, 0.05, 0.3]),
}
# The chance of a loss of 1 and of -1; their difference is the gap.
GAPS = {
    "coarse": (np.array([0.0, 0.06, 0.131, 0.3]), np.array([0.0, 0.03, 0.03, 0.05])),
    "fine": (np.linspace(0.0, 0.25, 11) + 0.001, np.linspace(0.0, 0.05, 11)),
    "rises and falls": (np.array([0.1, 0.2, 0.151, 0.3]), np.array([0.1, 0.15, 0.05, 0.28])),
}


def failures(risks_T: np.ndarray, draws: int, units: int, seed: int = 0) -> np.ndarray:
    """Losses of 0 and 1, D x T x U; a unit that fails at a strict point fails at laxer ones."""
    chance_DU = np.random.default_rng(seed).random((draws, 1, units))
    return chance_DU < risks_T[:, None]


def gaps(name: str, draws: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Risks and losses of -1, 0 and 1."""
    worse_T, better_T = GAPS[name]
    chance_DU = np.random.default_rng(1).random((draws, 1, units))
    lost = (chance_DU < worse_T[:, None]).astype(np.int8)
    return worse_T - better_T, lost - (chance_DU > 1 - better_T[:, None])


def counts(claim: Claim, losses_DTU: np.ndarray, binary: bool, num_chains: int = 1) -> list[int]:
    p_DT = claim.p_values(losses_DTU, binary, num_chains)
    error = claim.error / num_chains
    return [len([*holding(p_T, lambda p: float(p), error)]) for p_T in p_DT]


def violated(counts_D: list[int], risks_T: np.ndarray) -> np.ndarray:
    """Whether any certified point's risk is above the level, D."""
    return np.array([(risks_T[:number] > LEVEL + 1e-12).any() for number in counts_D])


def within(violated_D: np.ndarray) -> bool:
    """The rate of violations is at most 1 - CONFIDENCE, up to three binomial errors."""
    error = 1 - CONFIDENCE
    return violated_D.mean() <= error + 3 * np.sqrt(error * CONFIDENCE / len(violated_D))


@pytest.mark.parametrize("name", RISKS)
def test_harm_is_below_its_level_as_often_as_is_said(name: str):
    losses = failures(RISKS[name], draws=4000, units=200)
    counts_D = counts(Claim("harm", LEVEL, CONFIDENCE), losses, binary=True)
    assert within(violated(counts_D, RISKS[name]))


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_is_below_its_level_as_often_as_is_said(name: str):
    risks_T, losses = gaps(name, draws=2000, units=200)
    counts_D = counts(Claim("accuracy_gap", LEVEL, CONFIDENCE), losses, binary=False)
    assert within(violated(counts_D, risks_T))


def test_chains_together_keep_the_confidence():
    """Six chains over other examples, so that their errors do not coincide."""
    risks_T, claim = np.array([0.101, 0.2]), Claim("harm", LEVEL, CONFIDENCE)
    losses = [failures(risks_T, 2000, 200, seed) for seed in range(6)]
    found = [counts(claim, each, binary=True, num_chains=6) for each in losses]
    assert within(np.any([violated(counts_D, risks_T) for counts_D in found], axis=0))


def test_it_is_not_safe_by_doing_nothing():
    """At half the level, most samples of 1,000 certify the point."""
    claim = Claim("harm", LEVEL, CONFIDENCE)
    losses = failures(np.array([0.05]), 500, 1000)
    assert np.mean(counts(claim, losses, binary=True)) > 0.95


CLAIM = Claim("disagreement", 0.01, 0.95)


def made(**holds_for) -> Certificate:
    return Certificate(
        "one", [CLAIM], "at most 1 % change", holds_for | {"point": Point().as_dict()}
    )


def test_another_machine_is_a_line_and_other_files_are_refused(capsys: pytest.CaptureFixture):
    elsewhere = {"processor": "another one", "instructions": ["amx_int8"]}
    certificate = made(weights="a", **{MACHINE: elsewhere})
    certificate.check({"weights": "a", MACHINE: machine()})
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("note: certificate one: it was certified on another one, and ")
    certificate.check({"weights": "a"})
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match=r"holds for another weights \(a there, b here\)"):
        certificate.check({"weights": "b"})


def test_what_an_earlier_certificate_does_not_name_is_told_where_nothing_else_differs():
    unnamed = r"another int8 computation \(of an earlier version there, 0.4.1 here\)$"
    with pytest.raises(ConfigError, match=unnamed):
        made(weights="a").check({"weights": "a", **INT8_EXITS})
    with pytest.raises(ConfigError, match=r"another weights \(a there, b here\)$"):
        made(weights="a").check({"weights": "b", **INT8_EXITS})


@pytest.mark.parametrize(
    ("told", "cores"),
    [("200000 100000", 2), ("250000 100000", 3), ("max 100000", None), ("", None)],
)
def test_the_cores_that_a_container_s_quota_allows(tmp_path: Path, told: str, cores: int | None):
    (path := tmp_path / "cpu.max").write_text(told)
    assert quota(path) == cores
    assert quota(tmp_path / "none") is None


def test_what_a_machine_lacks_is_named():
    here = {"processor": "x", "instructions": ["avx2"]}
    assert difference({"processor": "x", "instructions": ["avx2"]}, here) == ""
    assert difference({"processor": "x", "instructions": []}, here) == ""  # it has more
    lacking = difference({"processor": "x", "instructions": ["avx2", "amx_int8"]}, here)
    assert lacking.endswith("x runs here, without amx_int8")


@pytest.mark.parametrize(("changed", "num"), [(0, 299), (3, 1000), (50, 2000), (7, 7)])
def test_a_bound_is_the_level_of_the_test(changed: int, num: int):
    """At the bound the p-value is the error, and a claim holds where its level is no lower."""
    tally = Tally(Claim("disagreement", 0.01, 0.95), num, changed)
    assert tally.holds == (tally.bound <= 0.01)
    if changed < num:
        assert clopper_pearson(np.array(changed), num, tally.bound) == pytest.approx(0.05)
    assert tally.fails == (changed / num > 0.01)  # with so many texts


def test_texts_needed_at_a_rate():
    tally = Tally(Claim("disagreement", 0.01, 0.95), 1000, 3)
    needed = tally.needed
    assert needed is not None
    assert Tally(tally.claim, needed, int(np.ceil(0.003 * needed))).holds
    assert Tally(tally.claim, 1000, 0).needed == tally.claim.needed() == 299
    assert Tally(tally.claim, 1000, 10).needed is None


def test_a_mean_loss_is_bounded():
    claim = Claim("lost_candidates", 0.05, 0.95)
    assert MeanLoss(claim, np.zeros(claim.needed(binary=False))).holds
    assert not MeanLoss(claim, np.zeros(claim.needed(binary=False) - 1)).holds
    losses_U = np.random.default_rng(0).choice([0.0, 0.1], 400, p=[0.9, 0.1])
    found = MeanLoss(claim, losses_U)
    assert losses_U.mean() < found.bound < 0.05
    assert (found.holds, found.fails) == (True, False)
    assert MeanLoss(claim, losses_U + 0.3).fails


def test_one_of_several_claims_is_refuted_at_a_share_of_the_error():
    """8 of 300 refute 1 % alone at 95 %, and not as one of twenty claims."""
    tally = Tally(Claim("disagreement", 0.01, 0.95), 300, 8)
    assert tally.fails
    assert not tally.fails_among(20)
    assert Tally(tally.claim, 300, 30).fails_among(20)
