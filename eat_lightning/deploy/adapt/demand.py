"""The promise that is asked for, as exact binomial tests on texts that nothing else has seen.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from eat_lightning.deploy.certify.procedure._bounds import allowed
from eat_lightning.deploy.certify.procedure.learn_then_test import LearnThenTest

EVERY = ""  # the name of the clause on all texts


@dataclass(frozen=True)
class Count:
    """Texts of a clause, and how many of their answers changed.

    Args:
        name: of a class of the original's answers; EVERY: all texts.
        level: the share that may change.
        error: one minus the confidence.
    """

    name: str
    level: float
    error: float
    num: int
    changed: int

    @property
    def allowed(self) -> int:
        """The most changes with which the clause is certified; -1 where there are too few texts."""
        return allowed(self.num, self.level, self.error) if self.num else -1

    @property
    def holds(self) -> bool:
        return self.changed <= self.allowed

    def chance(self, num: int) -> float:
        """Predict how likely the clause is certified on so many other texts (beta-binomial)."""
        from scipy.stats import betabinom

        most = allowed(num, self.level, self.error) if num else -1
        return float(betabinom.cdf(most, num, self.changed + 0.5, self.num - self.changed + 0.5))


@dataclass(frozen=True)
class Demand:
    """Shares of answers that must stay, with a confidence.

    Args:
        agree: of all texts.
        per_class: of the texts that the original answers with a class, by its name.
    """

    agree: float
    confidence: float
    per_class: Mapping[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        return round(1 - self.confidence, 12)

    def counts(
        self, changed_N: Bool[np.ndarray, " n"], groups: Mapping[str, Bool[np.ndarray, " n"]]
    ) -> list[Count]:
        """Count by clause. All must hold, each at the full error: together they err no more often
        than the one that is wrong.

        Args:
            groups: the texts of each class.
        """
        parts = {EVERY: np.ones_like(changed_N)} | {name: groups[name] for name in self.per_class}
        return [
            Count(
                name,
                round(1 - (self.agree if name == EVERY else self.per_class[name]), 12),
                self.error,
                int(part_N.sum()),
                int((changed_N & part_N).sum()),
            )
            for name, part_N in parts.items()
        ]

    def needed(self, agree: float) -> int:
        """The least number of texts that certify such a share, were none changed."""
        return LearnThenTest().needed(round(1 - agree, 12), self.confidence, 1, 0, binary=True)
