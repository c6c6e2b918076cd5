"""The cheapest point whose risk is certified, from recorded passes over the calibration part.

Shapes: T points of a chain from strict to lax, B examples, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eat_lightning.certify.candidates import Candidate
from eat_lightning.certify.procedure._bounds import allowed
from eat_lightning.model.contracts import Procedure, Risk

Chains = Sequence[Sequence[Candidate]]


@dataclass
class Target:
    """What is to hold: a risk below a level, by a procedure; `title` is the risk in words."""

    risk: Risk
    procedure: Procedure
    level: float
    confidence: float
    title: str

    def promise(self) -> str:
        return self.procedure.promise(self.title, self.level, self.confidence)


@dataclass
class Choice:
    """A point, or full depth with the reason for it. certified: the promise holds of it.
    seen: what the calibration part showed of the point."""

    candidate: Candidate
    fallback: bool
    certified: bool
    reason: str = ""
    seen: dict[str, Any] = field(default_factory=dict)


def in_units(losses_TB: np.ndarray, group_B: np.ndarray) -> np.ndarray:
    """Losses T x U of what is drawn independently: a group's is the mean of its examples'. Examples
    that the risk is not about (NaN) are left out; the order is random, by a fixed seed, since a
    training file is often sorted and a bound by betting looks at one unit after the other."""
    about_B = ~np.isnan(losses_TB[0])
    losses_TB, group_B = losses_TB[:, about_B], group_B[about_B]
    _, unit_B, size_U = np.unique(group_B, return_inverse=True, return_counts=True)
    sums_TU = np.stack([np.bincount(unit_B, row, len(size_U)) for row in losses_TB])
    order_U = np.random.default_rng(0).permutation(len(size_U))
    return (sums_TU / size_U)[:, order_U]


def choose(
    chains: Chains, losses: Sequence[np.ndarray], cost: Any, target: Target, group_B: np.ndarray
) -> Choice:
    """losses: T x B of each chain, whose first point is full depth. cost: FLOPs of a candidate."""
    units = [in_units(losses_TB, group_B) for losses_TB in losses]
    num_units, num_examples = units[0].shape[1], int((~np.isnan(losses[0][0])).sum())
    risk, args = target.risk, (target.level, target.confidence)
    binary = risk.low == 0 and num_units == num_examples
    sizes = {"num_examples": num_examples, "num_units": num_units, "num_chains": len(chains)}
    counts = [0 for _ in chains]
    if num_units:
        found = target.procedure.certified(units, *args, risk.low, binary)
        counts = [int(count) for count in found]
    held = [(i, t) for i, count in enumerate(counts) for t in range(count)]
    i, t = min(held, key=lambda point: cost(chains[point[0]][point[1]]), default=(0, 0))
    chosen = chains[i][t]
    certified, full = bool(held), chains[0][0]
    fallback = chosen.specs == full.specs
    needed = target.procedure.needed(*args, len(chains), risk.low, binary)
    sizes |= {"needed": needed, "risk": float(units[i][t].mean()) if num_units else None}
    what = "examples" if num_units == num_examples else "groups"
    reason = why(chains, units, counts, needed, what, target) if fallback else ""
    return Choice(chosen, fallback, certified, reason, sizes)


def why(
    chains: Chains,
    units: Sequence[np.ndarray],
    counts: Sequence[int],
    needed: int,
    what: str,
    target: Target,
) -> str:
    """Why nothing but full depth is left. what: the units are examples, or groups of them."""
    num = units[0].shape[1]
    sure = f" at {100 * target.confidence:g} % confidence"
    sure = sure if target.procedure.uses_confidence else ""
    if num < needed:
        return (
            f"{num} {what} are too few: {100 * target.level:g} %{sure} takes {needed} if none fails"
        )
    stopped = [(i, count) for i, count in enumerate(counts) if count < len(chains[i])]
    if not stopped:
        return "every point holds, and none costs less than full depth"
    i, t = stopped[0]
    point, losses_U = chains[i][t], units[i][t]
    where = "full depth itself" if t == 0 else point.exit_label
    if what == "examples" and target.risk.low == 0 and target.procedure.uses_confidence:
        delta = round(1 - target.confidence, 12) / len(chains)
        most = allowed(num, target.level, delta)
        return (
            f"at {where} {int(losses_U.sum())} of {num} {what} fail, and {100 * target.level:g} %"
            f"{sure} allows {most}"
        )
    return f"at {where} the risk is {100 * losses_U.mean():.2f} % on {num} {what}"
