"""What certificates promise, simulated over thousands of calibration samples.

A point whose risk is above its level by a little is where a wrong procedure fails most.
Shapes: D calibration samples, T points from strict to lax, U units.
"""

import numpy as np
import pytest

from eat_lightning.deploy.certify.procedure.conformal import Conformal
from eat_lightning.deploy.certify.procedure.learn_then_test import LearnThenTest

LEVEL, CONFIDENCE = 0.1, 0.9
COARSE = np.array([0.0, 0.04, 0.101, 0.2, 0.4])
FINE = np.linspace(0.0, 0.2, 41) + 0.001
RISES_AND_FALLS = np.array([0.02, 0.06, 0.03, 0.101, 0.05, 0.3])
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


def violated(counts_D: np.ndarray, risks_T: np.ndarray) -> np.ndarray:
    """Whether any certified point's risk is above the level, D."""
    return np.array([(risks_T[:count] > LEVEL + 1e-12).any() for count in counts_D])


def within(violated_D: np.ndarray) -> bool:
    """The rate of violations is at most 1 - CONFIDENCE, up to three binomial errors."""
    error = 1 - CONFIDENCE
    return violated_D.mean() <= error + 3 * np.sqrt(error * CONFIDENCE / len(violated_D))


@pytest.mark.parametrize("risks_T", [COARSE, FINE, RISES_AND_FALLS], ids=["coarse", "fine", "wavy"])
def test_harm_is_below_its_level(risks_T: np.ndarray):
    losses = failures(risks_T, draws=4000, units=200)
    (counts_D,) = LearnThenTest().certified([losses], LEVEL, CONFIDENCE)
    assert within(violated(counts_D, risks_T))


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_is_below_its_level(name: str):
    risks_T, losses = gaps(name, draws=2000, units=200)
    how = {"low": -1.0, "binary": False}
    (counts_D,) = LearnThenTest().certified([losses], LEVEL, CONFIDENCE, **how)
    assert within(violated(counts_D, risks_T))


def test_chains_together_keep_the_confidence():
    """Six chains over other examples, so that their errors do not coincide."""
    risks_T = np.array([0.101, 0.2])
    losses = [failures(risks_T, 2000, 200, seed) for seed in range(6)]
    found = LearnThenTest().certified(losses, LEVEL, CONFIDENCE)
    assert within(np.any([violated(counts_D, risks_T) for counts_D in found], axis=0))


@pytest.mark.parametrize("risks_T", [COARSE, FINE - FINE[0]], ids=["coarse", "fine"])
def test_conformal_keeps_the_expectation(risks_T: np.ndarray):
    """The mean risk of what is chosen is at most the level, up to three standard errors."""
    (counts_D,) = Conformal().certified([failures(risks_T, draws=4000, units=20)], LEVEL)
    risk_D = np.concatenate([[0.0], risks_T])[counts_D]
    assert risk_D.mean() <= LEVEL + 3 * risk_D.std() / np.sqrt(len(risk_D))


def test_conformal_keeps_the_expectation_of_a_gap():
    risks_T, losses = gaps("fine", 4000, 19)
    losses[:, 0] = 0  # full depth
    (counts_D,) = Conformal().certified([losses], LEVEL)
    assert np.concatenate([[0.0, 0.0], risks_T[1:]])[counts_D].mean() <= LEVEL


def test_it_is_not_safe_by_doing_nothing():
    """At half the level, most samples of 1,000 certify the point."""
    (counts_D,) = LearnThenTest().certified(
        [failures(np.array([0.05]), 500, 1000)], LEVEL, CONFIDENCE
    )
    assert counts_D.mean() > 0.95
    worse = np.array([0.08])
    (gap_D,) = LearnThenTest().certified(
        [gaps("fine", 200, 1000)[1][:, 2:3]], LEVEL, CONFIDENCE, low=-1, binary=False
    )
    assert gap_D.mean() > 0.95
    (counts_D,) = LearnThenTest().certified([failures(worse, 500, 100)], LEVEL, CONFIDENCE)
    assert counts_D.mean() < 0.5
