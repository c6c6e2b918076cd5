"""The contract of an exit rule: when an example leaves, and what it answers then.

Shapes: B examples still here, N packed tokens, D width, C classes, E exits so far, S signals.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.answer_kind import PROBLEM_TYPES
from eat_lightning.model.contracts.base import EncoderPart, point_of, points_by_layer
from eat_lightning.model.contracts.head import Head
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Misshaped, shape_text

Guesses = Float[Tensor, "e b c"]  # of the exits so far
Observed = Float[Tensor, "e b s"]  # by `observe` there
Signals = Observed | None
Decision = Int[Tensor, " b"]  # 0: stays
Pooled = Float[Tensor, "b d"]
Guess = Float[Tensor, "b c"]
Signal = Float[Tensor, "b s"]


class ExitRule(EncoderPart, ABC, slot="exit"):
    """An exit rule. It decides at each of its `layers` except the last layer of the encoder, where
    every example leaves. At the strict end of its `knob`, no example exits early."""

    layers: Sequence[int]  # where it decides (0: the embedding); a head stands at each
    reasons: Sequence[str] = ("exit",)  # why an example may leave
    # Kinds of answers for which it may be used: SINGLE, MULTI, SCORE (`answer_kind`).
    kinds: Sequence[str] = PROBLEM_TYPES
    wants_error: bool = False  # it reads the error that early heads of a score predict
    last_only: bool = False  # a decision reads only the exit where it is made, no earlier one
    by_class: bool = False  # `observe` returns a signal for each class, in their order
    by_difference: bool = True  # adding a constant to all logits of an exit changes nothing
    wants: frozenset[str] = frozenset()  # names of notes on rows for `observe`, see `packed.NOTES`

    @property
    def least_lead(self) -> float | None:
        """The least lead of the largest probability over the second that lets an example leave;
        None if unknown."""
        return None

    @abstractmethod
    def decides(self, logits_EBC: Guesses, signals_EBS: Signals) -> Decision:
        """Return 0 for an example that stays, and 1 + i for one that leaves for `reasons[i]`.

        Args:
            logits_EBC: logits at the exits so far, this one last, each divided by the temperature
                of its head.
            signals_EBS: signals of `observe` at the same exits; None if there are none.
        """

    def observe(
        self, packed: Packed, pooled_BD: Pooled, logits_BC: Guess, layer: int
    ) -> Signal | None:
        """Return signals that are recorded along with the logits. A rule with signals cannot be
        exported.

        Args:
            packed: the vectors that the head at `layer` read.
            pooled_BD: its pooled vectors.
            logits_BC: its logits.
            layer: 1-based.
        """
        return None

    def join(self, heads: Mapping[int, Head]) -> None:
        """Called with the encoder's heads by layer when the rule is put into an encoder. Do not
        store them as submodules; their weights may be loaded later."""

    def answers(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "b c"]:
        """Return the logits of the answer: by default those of the last exit."""
        return logits_EBC[-1]

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """Return how close each decision was to the opposite one, for comparing an export; infinite
        if unknown."""
        return logits_EBC.new_full(logits_EBC.shape[1:2], float("inf"))

    def flops(self, shape: Shape, num_labels: int) -> float:
        """Return the FLOPs of one decision for one example."""
        return 0.0


def open_layers(exit: ExitRule) -> list[int]:
    """Layers where an example can exit: those whose value is not the strict end of the knob."""
    strict, points = exit.knob and exit.knob.strict, points_by_layer(exit)
    return [k for k in exit.layers if k not in points or points[k] != strict]


def only_open(exit: ExitRule, policies: Sequence[object] = ()) -> ExitRule:
    """Return the rule without the exits at the strict end of its knob, so that their heads need not
    run. It is returned unchanged if its decisions, or policies, read earlier exits."""
    point, knob = point_of(exit), exit.knob
    if policies or not exit.last_only or knob is None or not isinstance(point, Sequence):
        return exit
    points = {layer: p for layer, p in points_by_layer(exit).items() if p != knob.strict}
    return exit if len(points) == len(point) else with_layers(exit, [*points])


def with_layers(exit: ExitRule, layers: Sequence[int]) -> ExitRule:
    """Return a rule with `last_only` that decides at some of its layers, each at the point that it
    has there."""
    twin = copy.copy(exit)
    twin.layers = [*layers]
    if exit.knob is not None and isinstance(point_of(exit), Sequence):
        points = points_by_layer(exit)
        setattr(twin, exit.knob.name, [points[layer] for layer in layers])
    return twin


def decide(exit: ExitRule, logits_EBC: Guesses, signals_EBS: Signals) -> Decision:
    """Return `exit.decides`, and raise Misshaped unless it is one integer per example."""
    decided_B = exit.decides(logits_EBC, signals_EBS)
    if not isinstance(decided_B, Tensor) or decided_B.shape != logits_EBC.shape[1:2]:
        found = shape_text(decided_B)
        raise Misshaped(f"{type(exit).__name__}.decides must give B whole numbers, got {found}")
    if decided_B.is_floating_point():
        kind = str(decided_B.dtype).removeprefix("torch.")
        raise Misshaped(f"{type(exit).__name__}.decides must give whole numbers, got {kind}")
    return decided_B
