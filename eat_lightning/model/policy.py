"""The contract of a policy, which may hold examples back from an exit, and what it is given.

Policies act in two steps: their `requests` before examples start, and their `reviews` of the exit
rule's decisions. `PolicyState` applies all policies of an encoder. torch is not imported.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eat_lightning.answer_kind import PROBLEM_TYPES, AnswerKind
from eat_lightning.model.method import Method
from eat_lightning.model.reason import Reason, leaves

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from eat_lightning.model.contracts import ExitRule, Reduction


class PolicyInput(Protocol):
    """The examples of a batch: the encoder's `Batch`, or `KnownFields` where there are no
    tokens."""

    @property
    def size(self) -> int: ...

    def known(self, key: str) -> list[str | None]:
        """Return the value of a known field for each example, None where it is missing."""
        ...


@dataclass(frozen=True)
class KnownFields:
    """Known fields of each example besides its text, such as its source or MIME type, by name."""

    about: Sequence[Mapping[str, str]]

    @property
    def size(self) -> int:
        return len(self.about)

    def known(self, key: str) -> list[str | None]:
        return [about.get(key) for about in self.about]


@dataclass
class PolicyRequest:
    """What a policy requests before its examples start. A field that is None requests nothing.

    Args:
        strength_B: maximum strength of the reduction for each example, 0 ... 1.
        full_B: whether an example runs every layer, for the reason `fallback`.
    """

    strength_B: Float[np.ndarray, " b"] | None = None
    full_B: Bool[np.ndarray, " b"] | None = None


def strictest(requests: Iterable[PolicyRequest]) -> PolicyRequest:
    """Return the least strength that any policy requests, and full depth where any does."""
    found = list(requests)
    strengths = [request.strength_B for request in found if request.strength_B is not None]
    fulls = [request.full_B for request in found if request.full_B is not None]
    return PolicyRequest(
        strength_B=reduce(np.minimum, strengths) if strengths else None,
        full_B=reduce(np.logical_or, fulls) if fulls else None,
    )


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model that its policies may read.

    Args:
        exits: layers where an example may leave.
        labels: names of the classes.
        kind: kind of its answers.
        max_length: most tokens of an example; None if unknown.
        folder: folder of the model's files; None if there is none.
    """

    exits: Sequence[int]
    labels: Sequence[str]
    kind: AnswerKind
    max_length: int | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, encoder: Any, labels: Sequence[str], folder: Path | None = None) -> ModelFacts:
        limit = encoder.shape.max_length
        return cls(encoder.exit.layers, labels, encoder.kind, limit, folder)


class Policy(Method, slot="policy"):
    """A policy acts before examples start, and when the exit rule would let one exit. It must not
    keep state that depends on the batch, since batches overlap in a service. It gets plain arrays
    and no model, so that the same policy works with the encoder and with an export."""

    kinds: Sequence[str] = PROBLEM_TYPES  # kinds of answers for which it may be used
    of_this_machine: Sequence[str] = ()  # arguments that name files, so no model folder holds them

    def requests(self, inputs: PolicyInput, reduction: Reduction | None) -> PolicyRequest:
        """Return requests for examples before they start.

        Args:
            inputs: the known fields of the examples.
            reduction: the encoder's reduction; None if strengths cannot be set.
        """
        return PolicyRequest()

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        inputs: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        """Return the reasons at an early exit after this policy: unchanged, 0 (stays), VETOED
        (stays for this reason), FALLBACK (runs every layer), or another reason to exit. A reason
        only has an effect for an example that would exit.

        Args:
            reason_B: reasons so far.
            logits_EBC: calibrated, at the exits so far.
            inputs: the known fields of the examples of the batch.
            rows_B: indices in `inputs` of the B remaining examples.
        """
        return reason_B

    def asks(self) -> set[str]:
        """Return the names of the known fields that it reads."""
        return set()

    def idle_beside(self, exit: ExitRule) -> str | None:
        """Return a line that says why it has no effect with an exit rule, or None."""
        return None

    def fits(self, model: ModelFacts) -> list[str]:
        """Return a line for each reason why it does not fit a model."""
        return []

    def wants_model(self) -> Path | None:
        """Return the folder of another model that it needs, or None."""
        return None

    def take_model(self, encoder: Any, labels: list[str]) -> None:
        """Called with the model whose folder `wants_model` returned."""


class PolicyState:
    """The policies' effect on the examples of a batch.

    Args:
        why_B: the last reason for which each example was held back, or 0.
    """

    def __init__(self, why_B: Int[np.ndarray, " b"]):
        self.why_B = why_B

    def request(self, request: PolicyRequest) -> None:
        """Note which examples are to run every layer."""
        if request.full_B is not None:
            self.why_B[request.full_B] = int(Reason.FALLBACK)

    def review(
        self,
        policies: Sequence[Policy],
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        inputs: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        """Return the reasons at an early exit after each policy in turn has reviewed them, 0 for an
        example that stays. The first policy that holds an example back gives the reason.

        A policy can only make an exit later, since it is asked about the examples that the rule and
        the policies before it let leave.

        Args:
            logits_EBC: calibrated, at the exits so far.
            inputs: the known fields of all examples.
            rows_B: indices in `inputs` of the B remaining examples.
        """
        reason_B = self.hold(reason_B, rows_B)
        for policy in policies:
            going_B = leaves(reason_B)
            if not going_B.any():
                break
            reviewed_B = policy.reviews(reason_B, logits_EBC, inputs, rows_B)
            reason_B = np.where(going_B, reviewed_B, reason_B)
        return self.hold(reason_B, rows_B)

    def hold(
        self, reason_B: Int[np.ndarray, " b"], rows_B: Int[np.ndarray, " b"]
    ) -> Int[np.ndarray, " b"]:
        """Return the reasons with 0 in place of the codes in `OVERRULED`, which keep an example
        here and are noted. An example that is to run every layer always stays."""
        full_B = self.why_B[rows_B] == Reason.FALLBACK
        reason_B = np.where(full_B, int(Reason.STAYS), reason_B)
        stays_B = (reason_B != Reason.STAYS) & ~leaves(reason_B)
        self.why_B[rows_B[stays_B]] = reason_B[stays_B]
        return np.where(stays_B, int(Reason.STAYS), reason_B)

    def at_end(self, rows_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """Return the reasons of examples that ran every layer."""
        why_B = self.why_B[rows_B]
        return np.where(why_B != Reason.STAYS, why_B, int(Reason.LAST_LAYER))
