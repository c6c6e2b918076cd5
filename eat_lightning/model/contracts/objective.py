"""The contract of an objective: the loss over all exits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from eat_lightning.model.contracts.attention import Attention
from eat_lightning.model.contracts.base import Learner
from eat_lightning.model.contracts.reduction import Reduction
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context, Loss

if TYPE_CHECKING:
    from eat_lightning.model.encoder import AdaptiveEncoder


@dataclass(frozen=True)
class Pass:
    """A further forward pass of a training step.

    Args:
        reduction: in place of the encoder's (Length-Adaptive Transformer's sandwich).
        skips: layers (1-based) that are not run (LayerDrop).
        weights: by name, in place of the encoder's (DynaBERT's widths).
    """

    reduction: Reduction | None = None
    skips: frozenset[int] = frozenset()
    weights: dict[str, Tensor] = field(default_factory=dict)


class Objective(Learner, ABC, slot="objective"):
    """The loss of a step. One that has parameters is an `nn.Module` too."""

    ordered: bool = False  # it leaves heads and inner neurons in the order of their importance
    examples: int = 0  # of the training data, for `begin`
    distill: float = 0.0  # weight of the divergence from a teacher's logits

    @property
    def wants_teacher(self) -> bool:
        """True where it reads a teacher's logits (`teacher_BC`)."""
        return self.distill > 0

    @property
    def reads_labels(self) -> bool:
        """False where early exits learn without the labels of their examples."""
        return True

    @property
    def wants(self) -> frozenset[str]:
        """Give what it reads of the context beside guesses: "hidden", "teacher_hidden", "scores"
        (the teacher's too), "step"."""
        return frozenset()

    @abstractmethod
    def __call__(self, context: Context) -> Loss:
        """Give sums over the examples of a batch, with `context.penalties` in them."""

    def bind(self, student: Shape, teacher: Shape | None) -> None:
        """Make the parameters; ValueError where both do not go together.

        Args:
            student: its sizes.
            teacher: its sizes; None where there is no teacher in the step.
        """

    def begin(self, encoder: AdaptiveEncoder, batches: Iterable[Batch]) -> None:
        """Change the encoder's weights before the first step of a run.

        Args:
            encoder: which will be trained.
            batches: of `examples` examples of the training data.
        """

    def flow(self, k: int, num_exits: int) -> tuple[float, float]:
        """Give two factors on the gradient at the k-th of the exits (1-based): of all that comes
        from it and from beyond, and of what comes from beyond."""
        return 1.0, 1.0

    def passes(self, step: int, encoder: AdaptiveEncoder) -> list[Pass]:
        """Give further passes of a step, whose guesses come as `context.passes`."""
        return []

    def lessons(self, teacher: AdaptiveEncoder) -> list[Pass]:
        """Give further passes of the teacher, whose traces come as `context.teacher_passes`."""
        return []

    def effective_weights(self, encoder: AdaptiveEncoder) -> dict[str, Tensor]:
        """Give by name what stands in place of the encoder's weights: in a step, in validation
        (`encoder.training` tells them apart), and for good when training ends."""
        return {}

    def summary(self, encoder: AdaptiveEncoder) -> list[str]:
        """Give lines that are printed when training has ended."""
        return []

    def fits(self, reduction: Reduction) -> list[str]:
        """Give a line for each reason why it cannot train beside a reduction."""
        return []

    def fits_attention(self, pattern: Attention) -> list[str]:
        """Give a line for each reason why it cannot train with an attention pattern, the student's
        or the teacher's."""
        return []
