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
        reduction: a reduction instead of the encoder's (sandwich rule of the Length-Adaptive
        Transformer).
        skips: layers (1-based) to skip (LayerDrop).
        weights: weights by name, instead of the encoder's (DynaBERT's widths).
    """

    reduction: Reduction | None = None
    skips: frozenset[int] = frozenset()
    weights: dict[str, Tensor] = field(default_factory=dict)


class Objective(Learner, ABC, slot="objective"):
    """The loss of a training step. If it has parameters, it is also an `nn.Module`."""

    ordered: bool = False  # it leaves heads and inner neurons in the order of their importance
    examples: int = 0  # of the training data, for `begin`
    distill: float = 0.0  # weight of the divergence from a teacher's logits

    @property
    def wants_teacher(self) -> bool:
        """Whether it uses a teacher's logits (`teacher_BC`)."""
        return self.distill > 0

    @property
    def reads_labels(self) -> bool:
        """Whether early exits learn from labels."""
        return True

    @property
    def wants(self) -> frozenset[str]:
        """Return what it reads from the context in addition to logits: "hidden", "teacher_hidden",
        "scores" (also the teacher's), "step"."""
        return frozenset()

    @abstractmethod
    def __call__(self, context: Context) -> Loss:
        """Return sums over the examples of a batch, which include `context.penalties`."""

    def bind(self, student: Shape, teacher: Shape | None) -> None:
        """Create the parameters. Raise ValueError if student and teacher do not match.

        Args:
            student: sizes of the student.
            teacher: sizes of the teacher; None if steps have no teacher.
        """

    def begin(self, encoder: AdaptiveEncoder, batches: Iterable[Batch]) -> None:
        """Change the encoder's weights before the first step of a run.

        Args:
            encoder: the encoder to be trained.
            batches: `examples` examples of the training data.
        """

    def flow(self, k: int, num_exits: int) -> tuple[float, float]:
        """Return two factors on the gradient at the k-th exit (1-based): for the gradient from this
        exit and later ones, and for that from later ones only."""
        return 1.0, 1.0

    def passes(self, step: int, encoder: AdaptiveEncoder) -> list[Pass]:
        """Return further passes of a step. Their logits are in `context.passes`."""
        return []

    def lessons(self, teacher: AdaptiveEncoder) -> list[Pass]:
        """Return further passes of the teacher. Their traces are in `context.teacher_passes`."""
        return []

    def effective_weights(self, encoder: AdaptiveEncoder) -> dict[str, Tensor]:
        """Return replacements of the encoder's weights by name: in a step, in validation
        (`encoder.training` distinguishes them), and permanently after training."""
        return {}

    def summary(self, encoder: AdaptiveEncoder) -> list[str]:
        """Return lines to print after training."""
        return []

    def fits(self, reduction: Reduction) -> list[str]:
        """Return a line for each reason why it cannot be used with a reduction."""
        return []

    def fits_attention(self, pattern: Attention) -> list[str]:
        """Return a line for each reason why it cannot be used with an attention pattern of student
        or teacher."""
        return []
