"""What a certificate claims, and the exact tests behind it.

A claim bounds the mean loss of answers: with its confidence, over draws of the texts that are
tested, that mean is at most its level. Points are tested in an order that is fixed beforehand, from
strict to lax, each at the full error, until one fails (Learn then Test by fixed-sequence testing,
Angelopoulos et al. 2021). So no correction for the number of points is due.

Shapes: B examples, U units (examples, or groups of them that were drawn together).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict, Field

from eat_lightning.answer_kind import PROBLEM_TYPES, SINGLE

LossName = Literal["accuracy_gap", "disagreement", "false_negatives", "harm", "lost_candidates"]
Share = Annotated[float, Field(gt=0, lt=1)]
T = TypeVar("T")
LEVELS = 1000  # that `MeanLoss.bound` looks at
MOST_BET = 0.9  # of the largest bet that cannot make wealth negative
MOST_UNITS = 1 << 24  # that `Claim.needed` looks for


@dataclass(frozen=True)
class Loss:
    """What an early answer may cost; 1 at most.

    Args:
        of: losses (B) from the numbers of full-depth answers, early answers and labels; equal
            numbers are equal answers. The last argument is the label of the claim.
        low: the least loss there can be.
        none_at_full_depth: whoever runs every layer loses nothing.
        kinds: of answers that it can be told of.
    """

    of: Callable[[np.ndarray, np.ndarray, np.ndarray, int | None], np.ndarray]
    low: float = 0.0
    none_at_full_depth: bool = True
    kinds: Sequence[str] = (SINGLE,)


def accuracy_gap(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """1 where only the full-depth answer is right, -1 where only the early one is, else 0."""
    return (full_B == label_B).astype(np.float64) - (early_B == label_B)


def disagreement(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """1 where the early answer is not the full-depth one, whichever is right. No label is read."""
    return (full_B != early_B).astype(np.float64)


def false_negatives(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """1 where an example of class `label` is answered otherwise, NaN for other examples. What full
    depth misses counts too, so a level below its own misses cannot be reached."""
    return np.where(label_B == label, (early_B != label).astype(np.float64), np.nan)


def harm(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """1 where the full-depth answer is right and the early one wrong."""
    return ((full_B == label_B) & (early_B != label_B)).astype(np.float64)


LOSSES = {
    "accuracy_gap": Loss(accuracy_gap, low=-1.0),
    "disagreement": Loss(disagreement, kinds=PROBLEM_TYPES),
    "false_negatives": Loss(false_negatives, none_at_full_depth=False),
    "harm": Loss(harm),
}


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Claim:
    """A bound on the mean of a loss.

    Args:
        loss: one of `LOSSES`, or `lost_candidates`: the share of a list's best that is not
            returned.
        level: the bound.
        confidence: over draws of the texts that are tested.
        label: number of the class that `false_negatives` is about.
        of: only texts that the original answers with this class count; "": all do.
    """

    loss: LossName
    level: Share
    confidence: Share
    label: int | None = None
    of: str = ""

    @property
    def error(self) -> float:
        """The chance that a test may be wrong."""
        return round(1 - self.confidence, 12)  # 1 - 0.9 is 0.09999999999999998

    @property
    def low(self) -> float:
        """The least loss there can be."""
        return LOSSES[self.loss].low if self.loss in LOSSES else 0.0

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        """Loss of each example, NaN where it does not count; arguments as `Loss.of` has them."""
        return LOSSES[self.loss].of(full_B, early_B, label_B, self.label)

    def p_values(self, losses_U: np.ndarray, binary: bool, num_chains: int = 1) -> np.ndarray:
        """P-values of "the mean loss is above the level", by points before the last axis.

        Args:
            binary: losses are 0 or 1, which have an exact binomial test; others are bet on.
            num_chains: sequences that share the error, which decides how much is bet.
        """
        if binary:
            return clopper_pearson(losses_U.sum(-1), losses_U.shape[-1], self.level)
        return betting(losses_U, self.level, self.error / num_chains, self.low)

    def needed(self, num_chains: int = 1, binary: bool = True) -> int:
        """The least number of units that certify a point if none of them loses anything."""
        error = self.error / num_chains
        if binary:  # (1 - level) ** units <= error
            return int(np.ceil(np.log(error) / np.log1p(-self.level)))

        def enough(num: int) -> bool:
            return bool(betting(np.zeros(num), self.level, error, self.low) <= error)

        high = 1
        while not enough(high) and high < MOST_UNITS:
            high *= 2
        return bisect_left(range(high), True, lo=1, key=enough)

    def guarantee(self, what: str) -> str:
        """The claim as a sentence. what: the loss in words."""
        sure = f"with {100 * self.confidence:g} % confidence over calibration samples"
        return f"{sure}, {what} is at most {100 * self.level:g} %"


def agreement(
    agree: float, confidence: float, per_class: Mapping[str, float] | None = None
) -> list[Claim]:
    """The claims that this share of all answers is unchanged, and those of classes named apart."""
    shares = {"": agree, **(per_class or {})}
    return [
        Claim("disagreement", round(1 - share, 12), confidence, of=name)
        for name, share in shares.items()
    ]


def made(kind: type[Any]) -> BeforeValidator:
    """Make an object of the plain values that a file has for it."""
    return BeforeValidator(lambda value: kind(**value) if isinstance(value, dict) else value)


ReadClaim = Annotated[Claim, made(Claim)]


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Tally:
    """Texts that a claim was tested on, and how many of them lost.

    Args:
        num: texts that count.
        changed: of these, those whose answer changed.
    """

    claim: ReadClaim
    num: int
    changed: int

    @property
    def allowed(self) -> int:
        """The most changes with which the claim is certified; -1 where there are too few texts."""
        return allowed(self.num, self.claim.level, self.claim.error) if self.num else -1

    @property
    def holds(self) -> bool:
        return self.changed <= self.allowed

    @property
    def p_value(self) -> float:
        """P-value of "more texts change than the level"; 1 where no text counts."""
        if not self.num:
            return 1.0
        return float(clopper_pearson(np.array(self.changed), self.num, self.claim.level))

    @property
    def share(self) -> float:
        """The share of changed answers."""
        return self.changed / max(1, self.num)

    @property
    def bound(self) -> float:
        """The most that the share of changed answers may be, with the claim's confidence."""
        return upper_bound(self.changed, self.num, self.claim.error)

    @property
    def fails(self) -> bool:
        """Whether more answers change than the level, with the claim's confidence."""
        least = 1 - upper_bound(self.num - self.changed, self.num, self.claim.error)
        return least > self.claim.level

    @property
    def needed(self) -> int | None:
        """Texts that certify the claim at the share of changes seen; None: no number does."""
        share, level, error = self.share, self.claim.level, self.claim.error
        if share >= level:
            return None

        def enough(num: int) -> bool:
            return bool(clopper_pearson(np.ceil(share * num), num, level) <= error)

        return bisect_left(range(MOST_UNITS), True, lo=1, key=enough)

    def chance(self, num: int) -> float:
        """Predicted chance that the claim is certified on `num` other texts (beta-binomial)."""
        from scipy.stats import betabinom

        most = allowed(num, self.claim.level, self.claim.error) if num else -1
        return float(betabinom.cdf(most, num, self.changed + 0.5, self.num - self.changed + 0.5))


ReadTally = Annotated[Tally, made(Tally)]


@dataclass(frozen=True)
class MeanLoss:
    """Losses from 0 to 1 that a claim was tested on, one of each unit; as `Tally` of changes."""

    claim: Claim
    losses_U: np.ndarray

    @property
    def num(self) -> int:
        return len(self.losses_U)

    @property
    def changed(self) -> int:
        """Units that lose anything."""
        return int((self.losses_U > 0).sum())

    @property
    def share(self) -> float:
        return float(self.losses_U.mean())

    @property
    def bound(self) -> float:
        """The most that the mean may be, with the claim's confidence, to a thousandth."""
        levels = (np.arange(1, LEVELS) / LEVELS)[::-1]
        refused = takewhile(lambda level: self.refuses(self.losses_U, level), levels)
        return float(min(refused, default=1.0))

    @property
    def holds(self) -> bool:
        return self.refuses(self.losses_U, self.claim.level)

    @property
    def fails(self) -> bool:
        """Whether the mean is above the level, with the claim's confidence."""
        return self.refuses(1 - self.losses_U, 1 - self.claim.level)

    @property
    def needed(self) -> None:
        """Not known: it depends on how losses vary."""
        return

    def refuses(self, losses_U: np.ndarray, level: float) -> bool:
        """Whether a mean above the level is refused."""
        return bool(betting(losses_U, level, self.claim.error) <= self.claim.error)


def tallied(
    claims: Sequence[Claim], changed_B: np.ndarray, groups: Mapping[str, np.ndarray]
) -> list[Tally]:
    """Count changed answers (a mask over examples) for each claim.

    Args:
        groups: masks of the examples that the original answers with each class.
    """
    counted = [np.ones_like(changed_B) if not c.of else groups[c.of] for c in claims]
    return [
        Tally(claim, int(of_B.sum()), int((changed_B & of_B).sum()))
        for claim, of_B in zip(claims, counted, strict=True)
    ]


def holding(points: Iterable[T], p_value: Callable[[T], float], error: float) -> Iterator[T]:
    """Points whose claim is certified, in the order given: all before the first that fails.

    Those behind it are not tested. Several claims about a point hold together where the largest of
    their p-values is at most `error` (intersection-union test).
    """
    for point in points:
        if p_value(point) > error:
            return
        yield point


def clopper_pearson(failures: np.ndarray, num_units: int, level: float) -> np.ndarray:
    """The chance of so few failures or fewer if each unit failed with chance `level`: exact for
    losses of 0 and 1 (Clopper and Pearson 1934)."""
    from scipy.stats import binom

    return binom.cdf(failures, num_units, level)


def upper_bound(failures: int, num_units: int, error: float) -> float:
    """The largest share of failures that so few do not exclude at this error: exact and one-sided,
    the level at which `clopper_pearson` gives it."""
    from scipy.stats import beta

    if failures >= num_units:
        return 1.0
    return float(beta.ppf(1 - error, failures + 1, num_units - failures))


def allowed(num_units: int, level: float, error: float) -> int:
    """The most failures with a p-value of at most `error`; -1 where none at all is too many."""
    from scipy.stats import binom

    near = int(binom.ppf(error, num_units, level))  # the first with a chance of error or more
    return near if clopper_pearson(np.array(near), num_units, level) <= error else near - 1


def betting(losses_U: np.ndarray, level: float, error: float, low: float = 0.0) -> np.ndarray:
    """P-values for losses in [low, 1] by betting that each is below the level (Waudby-Smith and
    Ramdas 2024): 1 / the largest wealth (Ville).

    Bets look only at the units before, so their order must not depend on the losses. They grow
    where losses vary little, as gaps that are mostly 0 do, of which Hoeffding's and Bentkus's
    bounds know nothing.
    """
    x_U = (np.asarray(losses_U, np.float64) - low) / (1 - low)
    bound = (level - low) / (1 - low)
    num = x_U.shape[-1]
    seen_U = np.arange(1, num + 1)
    mean_U = (0.5 + np.cumsum(x_U, -1)) / (seen_U + 1)
    spread_U = (0.25 + np.cumsum((x_U - mean_U) ** 2, -1)) / (seen_U + 1)
    before_U = np.concatenate([np.full((*x_U.shape[:-1], 1), 0.25), spread_U[..., :-1]], -1)
    bet_U = np.minimum(np.sqrt(2 * np.log(1 / error) / (num * before_U)), MOST_BET / (1 - bound))
    wealth_U = np.cumsum(np.log1p(bet_U * (bound - x_U)), -1)
    return np.exp(-np.maximum(wealth_U.max(-1), 0.0))
