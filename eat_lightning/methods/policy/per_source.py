"""A threshold for each source of data: its examples must also reach the tau of their source to
exit.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field
from scipy.special import softmax

from eat_lightning.answer_kind import SINGLE
from eat_lightning.model.method import method
from eat_lightning.model.policy import ModelFacts, Policy, PolicyInput, PolicyRequest
from eat_lightning.model.reason import Reason
from eat_lightning.validation import each, one_each

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from eat_lightning.model.contracts import Reduction

Tau = Annotated[float | Sequence[float], each(Annotated[float, Field(gt=0, le=1)])]


@method("policy.per_source")
class PerSource(Policy):
    """Keeps examples that do not reach the threshold of their source. It applies in addition to the
    exit rule's own, which should therefore be the laxest.

    Args:
        taus: for each source, one tau or one per exit.
        strict: unknown sources run every layer; otherwise only the exit rule decides.
    """

    taus: Mapping[str, Tau] | None = None
    strict: bool = True

    kinds = (SINGLE,)

    def __post_init__(self) -> None:
        self.known: dict[str, Tau] = dict(self.taus or {})
        self.taus = self.known

    def fits(self, model: ModelFacts) -> list[str]:
        return [
            f"policy.per_source.taus.{name} {fault}"
            for name, tau in self.known.items()
            if model.exits
            for fault in one_each(tau, model.exits)
        ]

    def asks(self) -> set[str]:
        return {"source"}

    def requests(self, inputs: PolicyInput, reduction: Reduction | None) -> PolicyRequest:
        if not self.strict:
            return PolicyRequest()
        return PolicyRequest(
            full_B=np.array([name not in self.known for name in inputs.known("source")])
        )

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        inputs: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        names = inputs.known("source")
        taus_B = [self._tau_at(names[row], len(logits_EBC)) for row in rows_B.tolist()]
        sure_B = softmax(logits_EBC[-1], axis=-1).max(-1) >= np.array(taus_B)
        return np.where(sure_B, reason_B, int(Reason.STAYS))

    def _tau_at(self, source: str | None, num_exits: int) -> float:
        tau = self.known.get(source or "", 0.0)
        return tau[num_exits - 1] if isinstance(tau, Sequence) else tau
