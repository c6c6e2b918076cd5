"""Gradual pruning (Zhu and Gupta 2017): the removed share increases from zero to the requested one.

With `shape: cubic`, the remaining share follows their cubic v + (1 - v) (1 - t)^3 over the progress
t of the ramp, which movement pruning (Sanh et al. 2020) adopted. CoFi's target (Xia et al. 2022)
increases linearly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from eat_lightning.model.contracts import Schedule, Stage
from eat_lightning.model.method import method


@method("schedule")
class Gradual(Schedule):
    """A single stage, in which the strength increases from 0 to 1 and then stays.

    Args:
        warm: share of all steps before anything is removed.
        cool: share of all steps, at the end, at the requested share.
        shape: shape of the ramp in between.
        embedding: whether the embedding is trained (it is frozen in movement pruning).
    """

    warm: Annotated[float, Field(ge=0, lt=1)] = 0.1
    cool: Annotated[float, Field(ge=0, lt=1)] = 0.3
    shape: Literal["linear", "cubic"] = "cubic"
    embedding: bool = True

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.warm + self.cool >= 1:
            yield f"schedule.cool must leave steps to prune: warm={self.warm}, got {self.cool}"

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        frozen = () if self.embedding else ("embedding.*",)
        return [Stage(ramp=(self.warm, 1 - self.cool), shape=self.shape, frozen=frozen)]
