"""Choose the cheapest point whose risk is certified, from recorded passes over the calibration
part.

Shapes: T points of a chain from strict to lax, B examples, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eat_lightning.record.claim import LOSSES, Claim, allowed, holding
from eat_lightning.record.measured import Measured
from eat_lightning.runs.row import label

Chains = Sequence[Sequence[Measured]]


@dataclass
class Choice:
    """A point, or full depth with the reason.

    Args:
        certified: True if the claim was certified.
        seen: results of the point on the calibration part.
    """

    candidate: Measured
    fallback: bool
    certified: bool
    reason: str = ""
    seen: dict[str, Any] = field(default_factory=dict)


@dataclass
class Target:
    """The claim of a certificate, and its wording.

    Args:
        title: name of the loss.
        share: the bounded quantity, where the title is ambiguous.
    """

    claim: Claim
    title: str
    share: str = ""

    @property
    def name(self) -> str:
        """Default name of a certificate."""
        title = self.title.replace(" ", "_")
        return f"{title}-{self.claim.level:g}-{self.claim.confidence:g}"

    def guarantee(self, choice: Choice) -> str:
        """Return the guarantee of a choice as a sentence."""
        if choice.fallback and LOSSES[self.claim.loss].none_at_full_depth:
            return f"nothing leaves early, so {self.title} is 0"
        if choice.fallback and not choice.certified:
            what = self.share or self.title
            return f"nothing is guaranteed about {what}, which full depth itself has too"
        return self.claim.guarantee(self.share or self.title)


def in_units(losses_TB: np.ndarray, group_B: np.ndarray) -> np.ndarray:
    """Return losses of independent units (T x U). The loss of a group is the mean of its examples'.

    Examples that the risk is not about (NaN) are left out. The order is shuffled with a fixed seed,
    because training files are often sorted, and betting bounds process units in order.
    """
    about_B = ~np.isnan(losses_TB[0])
    losses_TB, group_B = losses_TB[:, about_B], group_B[about_B]
    _, unit_B, size_U = np.unique(group_B, return_inverse=True, return_counts=True)
    sums_TU = np.stack([np.bincount(unit_B, row, len(size_U)) for row in losses_TB])
    order_U = np.random.default_rng(0).permutation(len(size_U))
    return (sums_TU / size_U)[:, order_U]


def choose(
    chains: Chains, losses: Sequence[np.ndarray], target: Target, group_B: np.ndarray
) -> Choice:
    """Choose the cheapest certified candidate.

    Args:
        losses: T x B for each chain, whose first point is full depth.
    """
    units = [in_units(losses_TB, group_B) for losses_TB in losses]
    num_units, num_examples = units[0].shape[1], int((~np.isnan(losses[0][0])).sum())
    claim = target.claim
    binary = claim.low == 0 and num_units == num_examples
    counts = [count_of(losses_TU, claim, binary, len(chains)) for losses_TU in units]
    passed = [(i, t) for i, count in enumerate(counts) for t in range(count)]
    i, t = min(passed, key=lambda place: chains[place[0]][place[1]].cost, default=(0, 0))
    chosen = chains[i][t]
    fallback = chosen.point == chains[0][0].point
    seen = {
        "num_examples": num_examples,
        "num_units": num_units,
        "num_chains": len(chains),
        "needed": claim.needed(len(chains), binary),
        "risk": float(units[i][t].mean()) if num_units else None,
    }
    reason = why(chains, units, counts, seen, target) if fallback else ""
    return Choice(chosen, fallback, bool(passed), reason, seen)


def count_of(losses_TU: np.ndarray, claim: Claim, binary: bool, num_chains: int) -> int:
    """Return how many points of a chain are certified, from its strict end. Chains share the error
    (Bonferroni).
    """
    if not losses_TU.shape[1]:
        return 0
    p_T = claim.p_values(losses_TU, binary, num_chains)
    points = holding(range(len(p_T)), lambda t: float(p_T[t]), claim.error / num_chains)
    return sum(1 for _ in points)


def why(
    chains: Chains,
    units: Sequence[np.ndarray],
    counts: Sequence[int],
    seen: dict[str, Any],
    target: Target,
) -> str:
    """Return the reason why only full depth remains."""
    num, needed, claim = seen["num_units"], seen["needed"], target.claim
    what = "examples" if num == seen["num_examples"] else "groups"
    level = f"{100 * claim.level:g} % at {100 * claim.confidence:g} % confidence"
    if num < needed:
        more = "half of data.calibration is for certificates, so train with a larger one"
        return f"{num} {what} are too few: {level} takes {needed} if none fails ({more})"
    stopped = [(i, count) for i, count in enumerate(counts) if count < len(chains[i])]
    if not stopped:
        return "every point is certified, but none costs less than full depth"
    i, t = stopped[0]
    losses_U = units[i][t]
    where = "full depth itself" if t == 0 else label(chains[i][t].point.methods["exit"])
    if what == "examples" and claim.low == 0:
        most = allowed(num, claim.level, claim.error / len(chains))
        return f"at {where} {int(losses_U.sum())} of {num} {what} fail, and {level} allows {most}"
    return f"at {where} the risk is {100 * losses_U.mean():.2f} % on {num} {what}"
