"""Claims of a certificate, and the exact tests behind them.

A claim says that the mean loss of answers is at most its level. Its confidence is over draws of the
texts on which it is tested. Points are tested in an order that is fixed beforehand, from strict to
lax, each at the full error, until one fails (Learn then Test by fixed-sequence testing,
Angelopoulos et al. 2021), so no correction for the number of points is needed: see `holding`.

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
LEVELS = 1000  # steps of `MeanLoss.bound`
MOST_BET = 0.9  # share of the largest bet that cannot make wealth negative
MOST_UNITS = 1 << 24  # where the search of `Claim.needed` ends


@dataclass(frozen=True)
class Loss:
    """A loss of early answers, at most 1.

    Args:
        of: returns the losses (B) from the numbers of full-depth answers, early answers and labels;
            equal numbers are equal answers. The last argument is the label of the claim.
        low: the least possible loss.
        none_at_full_depth: whether the loss of an example that runs every layer is 0.
        kinds: kinds of answers for which it is defined.
    """

    of: Callable[[np.ndarray, np.ndarray, np.ndarray, int | None], np.ndarray]
    low: float = 0.0
    none_at_full_depth: bool = True
    kinds: Sequence[str] = (SINGLE,)


def accuracy_gap(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Return 1 where only the full-depth answer is right, -1 where only the early one is, else
    0."""
    return (full_B == label_B).astype(np.float64) - (early_B == label_B)


def disagreement(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Return 1 where the early answer is not the full-depth one; labels are not read."""
    return (full_B != early_B).astype(np.float64)


def false_negatives(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Return 1 where an example of class `label` gets another answer, NaN for examples of other
    classes. Misses of full depth count too, so a level below those cannot be reached."""
    return np.where(label_B == label, (early_B != label).astype(np.float64), np.nan)


def harm(
    full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Return 1 where the full-depth answer is right and the early one wrong."""
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
        loss: one of `LOSSES`, or `lost_candidates`: the share of a list's best candidates that are
            not returned.
        level: the bound.
        confidence: confidence of the bound, over draws of the texts that are tested.
        label: number of the class that `false_negatives` is about.
        of: a class; only texts that the original answers with it count. "": all texts count.
    """

    loss: LossName
    level: Share
    confidence: Share
    label: int | None = None
    of: str = ""

    @property
    def error(self) -> float:
        """The error level of a test: 1 - confidence."""
        return round(1 - self.confidence, 12)  # 1 - 0.9 is 0.09999999999999998

    @property
    def low(self) -> float:
        """The least possible loss."""
        return LOSSES[self.loss].low if self.loss in LOSSES else 0.0

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        """Return the loss of each example, NaN if it does not count. Arguments: see `Loss.of`."""
        return LOSSES[self.loss].of(full_B, early_B, label_B, self.label)

    def p_values(self, losses_U: np.ndarray, binary: bool, num_chains: int = 1) -> np.ndarray:
        """Return p-values of the hypothesis that the mean loss is above the level.

        Args:
            losses_U: losses, with points along the axes before the last.
            binary: whether losses are 0 or 1 and have an exact binomial test; else by `betting`.
            num_chains: number of test sequences that share the error, which sets the bets.
        """
        if binary:
            return clopper_pearson(losses_U.sum(-1), losses_U.shape[-1], self.level)
        return betting(losses_U, self.level, self.error / num_chains, self.low)

    def needed(self, num_chains: int = 1, binary: bool = True) -> int:
        """Return the least number of units that certify a point if all of their losses are 0."""
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
        """Return the claim as a sentence.

        Args:
            what: the loss in words.
        """
        sure = f"with {100 * self.confidence:g} % confidence over calibration samples"
        return f"{sure}, {what} is at most {100 * self.level:g} %"


def agreement(
    agree: float, confidence: float, per_class: Mapping[str, float] | None = None
) -> list[Claim]:
    """Return the claims that at least a share of answers is unchanged.

    Args:
        agree: share of all answers.
        confidence: confidence of each claim.
        per_class: share of the answers of single classes, by class.
    """
    shares = {"": agree, **(per_class or {})}
    return [
        Claim("disagreement", round(1 - share, 12), confidence, of=name)
        for name, share in shares.items()
    ]


def from_dict(kind: type[Any]) -> BeforeValidator:
    """Return the validator that reads an object of this class from a file's dict."""
    return BeforeValidator(lambda value: kind(**value) if isinstance(value, dict) else value)


ReadClaim = Annotated[Claim, from_dict(Claim)]


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Tally:
    """The result of a claim's test on texts whose loss is 0 or 1.

    Args:
        num: number of texts that count.
        changed: number of these whose answer changed.
    """

    claim: ReadClaim
    num: int
    changed: int

    @property
    def allowed(self) -> int:
        """The most changes with which the claim is certified; -1 if there are too few texts."""
        return allowed(self.num, self.claim.level, self.claim.error) if self.num else -1

    @property
    def holds(self) -> bool:
        """Whether the claim is certified."""
        return self.changed <= self.allowed

    @property
    def p_value(self) -> float:
        """P-value of the hypothesis that more answers change than the level; 1 without texts."""
        if not self.num:
            return 1.0
        return float(clopper_pearson(np.array(self.changed), self.num, self.claim.level))

    @property
    def share(self) -> float:
        """The share of changed answers."""
        return self.changed / max(1, self.num)

    @property
    def bound(self) -> float:
        """Upper bound of the share of changed answers, at the claim's confidence."""
        return upper_bound(self.changed, self.num, self.claim.error)

    def fails_among(self, num_claims: int) -> bool:
        """Whether the claim is refuted: more answers change than the level, at a confidence that
        covers so many claims at once (Bonferroni)."""
        error = self.claim.error / num_claims
        return 1 - upper_bound(self.num - self.changed, self.num, error) > self.claim.level

    @property
    def fails(self) -> bool:
        """Whether the claim alone is refuted, at its confidence."""
        return self.fails_among(1)

    @property
    def needed(self) -> int | None:
        """The number of texts that would certify the claim at this share of changes; None if none
        would."""
        share, level, error = self.share, self.claim.level, self.claim.error
        if share >= level:
            return None

        def enough(num: int) -> bool:
            return bool(clopper_pearson(np.ceil(share * num), num, level) <= error)

        return bisect_left(range(MOST_UNITS), True, lo=1, key=enough)

    def chance(self, num: int) -> float:
        """Predict the chance that the claim is certified on `num` other texts (beta-binomial)."""
        from scipy.stats import betabinom

        most = allowed(num, self.claim.level, self.claim.error) if num else -1
        return float(betabinom.cdf(most, num, self.changed + 0.5, self.num - self.changed + 0.5))


ReadTally = Annotated[Tally, from_dict(Tally)]


@dataclass(frozen=True)
class MeanLoss:
    """The result of a claim's test on losses from 0 to 1, with the properties of a `Tally`."""

    claim: Claim
    losses_U: np.ndarray

    @property
    def num(self) -> int:
        return len(self.losses_U)

    @property
    def changed(self) -> int:
        """The number of units with a loss above 0."""
        return int((self.losses_U > 0).sum())

    @property
    def share(self) -> float:
        return float(self.losses_U.mean())

    @property
    def bound(self) -> float:
        """Upper bound of the mean loss at the claim's confidence, to a thousandth."""
        levels = (np.arange(1, LEVELS) / LEVELS)[::-1]
        refused = takewhile(lambda level: self.refuses(self.losses_U, level), levels)
        return float(min(refused, default=1.0))

    @property
    def holds(self) -> bool:
        return self.refuses(self.losses_U, self.claim.level)

    def fails_among(self, num_claims: int) -> bool:
        """See `Tally.fails_among`."""
        error = self.claim.error / num_claims
        return self.refuses(1 - self.losses_U, 1 - self.claim.level, error)

    @property
    def fails(self) -> bool:
        """Whether the claim alone is refuted, at its confidence."""
        return self.fails_among(1)

    @property
    def needed(self) -> None:
        """Unknown, since it depends on how losses vary."""
        return

    def refuses(self, losses_U: np.ndarray, level: float, error: float | None = None) -> bool:
        """Whether the hypothesis that the mean is above `level` is rejected.

        Args:
            error: of the test; None: the claim's.
        """
        error = self.claim.error if error is None else error
        return bool(betting(losses_U, level, error) <= error)


def tallied(
    claims: Sequence[Claim], changed_B: np.ndarray, groups: Mapping[str, np.ndarray]
) -> list[Tally]:
    """Count changed answers for each claim.

    Args:
        changed_B: mask of the examples whose answer changed.
        groups: masks of the examples that the original answers with each class, by class.
    """
    counted = [np.ones_like(changed_B) if not c.of else groups[c.of] for c in claims]
    return [
        Tally(claim, int(of_B.sum()), int((changed_B & of_B).sum()))
        for claim, of_B in zip(claims, counted, strict=True)
    ]


def holding(points: Iterable[T], p_value: Callable[[T], float], error: float) -> Iterator[T]:
    """Fixed-sequence test: yield the points that are certified, all before the first that fails.

    Several claims about a point hold together if the largest of their p-values is at most `error`
    (intersection-union test).

    Args:
        points: in an order that was fixed before the texts were seen; points after the first
            failure are not tested.
        p_value: returns the p-value of a point.
        error: level of each test.
    """
    for point in points:
        if p_value(point) > error:
            return
        yield point


def clopper_pearson(failures: np.ndarray, num_units: int, level: float) -> np.ndarray:
    """Return the probability of at most `failures` if each unit fails with probability `level`: the
    exact p-value for losses of 0 and 1 (Clopper and Pearson 1934)."""
    from scipy.stats import binom

    return binom.cdf(failures, num_units, level)


def upper_bound(failures: int, num_units: int, error: float) -> float:
    """Return the exact one-sided upper bound of the share of failures: the level at which
    `clopper_pearson` equals `error`."""
    from scipy.stats import beta

    if failures >= num_units:
        return 1.0
    return float(beta.ppf(1 - error, failures + 1, num_units - failures))


def allowed(num_units: int, level: float, error: float) -> int:
    """Return the most failures whose p-value is at most `error`; -1 if even 0 are too many."""
    from scipy.stats import binom

    near = int(binom.ppf(error, num_units, level))  # the first with a chance of error or more
    return near if clopper_pearson(np.array(near), num_units, level) <= error else near - 1


def betting(losses_U: np.ndarray, level: float, error: float, low: float = 0.0) -> np.ndarray:
    """Return p-values for losses in [low, 1] by betting that each is below the level (Waudby-Smith
    and Ramdas 2024): 1 / the largest wealth (Ville's inequality).

    A bet depends only on the units before, so the order of units must not depend on the losses.
    Bets grow where losses vary little, such as accuracy gaps that are mostly 0; Hoeffding's and
    Bentkus's bounds do not use that.
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
