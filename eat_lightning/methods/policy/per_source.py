"""A threshold per source of data: who comes from a source leaves only above its tau, too.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.answers import confidence
from eat_lightning.bounds import number_faults, one_each, raise_faults
from eat_lightning.model.reason import Reason
from eat_lightning.model.wish import Asked, Wish

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Reduction

Tau = float | Sequence[float]


class PerSource:
    """`taus`: by source, one tau or one for each exit. It comes on top of the exit rule's own, so
    give that the laxest. An unknown source runs every layer where `strict`, else has only the exit
    rule."""

    classes_only = True

    def __init__(self, taus: Mapping[str, Tau] | None = None, strict: bool = True):
        raise_faults(self.faults(None, taus, strict))
        self.taus = {
            name: tau if isinstance(tau, float | int) else list(tau)
            for name, tau in (taus or {}).items()
        }
        self.strict = strict

    @classmethod
    def faults(cls, num_layers: int | None, taus: Any = None, strict: Any = True) -> list[str]:
        key = "policy.per_source"
        if taus is not None and not isinstance(taus, Mapping):
            return [f"{key}.taus must map sources to taus, got {taus!r}"]
        faults = (
            []
            if isinstance(strict, bool)
            else [f"{key}.strict must be true or false, got {strict!r}"]
        )
        for name, tau in (taus or {}).items():
            faults += number_faults(f"{key}.taus.{name}", tau, "(0, 1]")
        return faults

    def fits(self, encoder: Any, labels: Sequence[str], folder: Any) -> list[str]:
        layers = encoder.exit.layers
        return [
            fault
            for name, tau in self.taus.items()
            for fault in (one_each(f"policy.per_source.taus.{name}", tau, layers) if layers else [])
        ]

    def asks(self) -> set[str]:
        return {"source"}

    def wishes(self, asked: Asked, reduction: Reduction | None) -> Wish:
        if not self.strict:
            return Wish()
        return Wish(full_B=np.array([name not in self.taus for name in asked.known("source")]))

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        asked: Asked,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        names = asked.known("source")
        taus_B = [self.tau_at(names[row], len(logits_EBC)) for row in rows_B.tolist()]
        sure_B = confidence(logits_EBC) >= np.array(taus_B)
        return np.where(sure_B, reason_B, int(Reason.STAYS))

    def tau_at(self, source: str | None, num_exits: int) -> float:
        tau = self.taus.get(source or "", 0.0)
        return tau[num_exits - 1] if isinstance(tau, Sequence) else tau
