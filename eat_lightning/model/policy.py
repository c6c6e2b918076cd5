"""The contract of a policy: what acts on an example beside its exit rule. Without torch.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.answer_kind import PROBLEM_TYPES, AnswerKind
from eat_lightning.model.method import Method
from eat_lightning.model.policy_request import PolicyInput, PolicyRequest

if TYPE_CHECKING:
    from eat_lightning.model.contracts import ExitRule, Reduction
    from eat_lightning.model.encoder import AdaptiveEncoder


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model that its policies may read.

    Args:
        exits: layers where an example may leave.
        labels: names of the classes.
        kind: of its answers.
        max_length: tokens of an example, at most; None where they are not known.
        folder: of the model's files; None where there is none.
    """

    exits: Sequence[int]
    labels: Sequence[str]
    kind: AnswerKind
    max_length: int | None = None
    folder: Path | None = None

    @classmethod
    def of(
        cls, encoder: AdaptiveEncoder, labels: Sequence[str], folder: Path | None = None
    ) -> ModelFacts:
        limit = encoder.shape.max_length
        return cls(encoder.exit.layers, labels, encoder.kind, limit, folder)


class Policy(Method):
    """Acts before examples start, and where the exit rule would let one go. What it keeps must not
    depend on the batch, since batches overlap in a service. It sees plain arrays and no model, so
    that the same policy serves the encoder and an export."""

    kinds: Sequence[str] = PROBLEM_TYPES  # of answers that it judges; it is refused for others
    of_this_machine: Sequence[str] = ()  # arguments that name files; no model folder may hold them

    def requests(self, inputs: PolicyInput, reduction: Reduction | None) -> PolicyRequest:
        """Give what is wanted for examples before they start.

        Args:
            inputs: the known fields of the examples.
            reduction: the encoder's; None where strengths cannot be set.
        """
        return PolicyRequest()

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        inputs: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        """Give the reasons at an early exit as they are after this policy: as they came, 0 (stays),
        VETOED (stays, and this is why), FALLBACK (runs every layer), or another reason to go. A
        reason counts only for an example that would go.

        Args:
            reason_B: as decided so far.
            logits_EBC: calibrated, at the exits so far.
            inputs: the known fields of the examples of the batch.
            rows_B: places in `inputs` of the B examples still here.
        """
        return reason_B

    def asks(self) -> set[str]:
        """Give the names under which it looks up what is known of an example."""
        return set()

    def idle_beside(self, exit: ExitRule) -> str | None:
        """Give a line that says why it could never act beside an exit rule; None: it can."""
        return None

    def fits(self, model: ModelFacts) -> list[str]:
        """Give a line for each thing of a model that does not go with it."""
        return []

    def wants_model(self) -> Path | None:
        """Give the folder of another model that it still has to be given; None: none."""
        return None

    def take_model(self, encoder: AdaptiveEncoder, labels: list[str]) -> None:
        """Keep the model whose folder `wants_model` gave."""
