"""The contracts of training: what a step hands to an objective, and what a schedule is made of.

Shapes: B examples, C classes, S signals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.model.inside import Scores
from eat_lightning.model.packed import Packed
from eat_lightning.model.trace import Trace

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Objective, Reduction


@dataclass
class Loss:
    """Sums over the examples of a batch: `total` is what training descends, `parts` is for logs."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Context:
    """Data that a training step gives to an objective, and to a method's `penalties`.

    Args:
        guesses: logits by exit layer, those that count in this stage.
        labels_B: right answers.
        last: the last layer.
        teacher_BC: the teacher's logits; None where there is no teacher.
        signals: what the exit rule observed, B x S by layer.
        penalties: terms of each example by name.
        step: of the run, from 0.
        epoch: with the fraction of the one under way.
        stage: its number, from 0.
        hidden: the vectors after each layer (0: the embedding), for an objective that `wants` them.
        teacher_hidden: the teacher's, as wanted.
        scores: each layer's attention scores, as wanted.
        teacher_scores: the teacher's, as wanted.
        passes: guesses of the further passes that it requests.
        hidden_passes: their vectors.
        teacher_passes: traces of the teacher's further passes.
        full_BC: the last head's guess, also where it does not count.
        pools: vectors of heads that see earlier exits, by layer.
        strength: progress of the schedule, 0 ... 1.
        kind: of the answers.
    """

    guesses: dict[int, Float[Tensor, "b c"]]
    labels_B: Tensor
    last: int
    teacher_BC: Float[Tensor, "b c"] | None = None
    signals: dict[int, Float[Tensor, "b s"]] = field(default_factory=dict)
    penalties: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    epoch: float = 0.0
    stage: int = 0
    hidden: dict[int, Packed] = field(default_factory=dict)
    teacher_hidden: dict[int, Packed] = field(default_factory=dict)
    scores: dict[int, Scores] = field(default_factory=dict)
    teacher_scores: dict[int, Scores] = field(default_factory=dict)
    passes: list[dict[int, Tensor]] = field(default_factory=list)
    hidden_passes: list[dict[int, Packed]] = field(default_factory=list)
    teacher_passes: list[Trace] = field(default_factory=list)
    full_BC: Float[Tensor, "b c"] | None = None
    pools: dict[int, Float[Tensor, "b d"]] = field(default_factory=dict)
    strength: float = 1.0
    kind: AnswerKind = None  # type: ignore[assignment]  # None: by the width of a guess

    def __post_init__(self) -> None:
        if self.kind is None:
            self.kind = kind_of({}, next(iter(self.guesses.values())).shape[1])

    def full_depth(self) -> Float[Tensor, "b c"]:
        """The last head's guess."""
        return self.guesses[self.last] if self.full_BC is None else self.full_BC


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


@dataclass(frozen=True)
class Stage:
    """A part of training.

    Args:
        share: of all steps.
        ramp: shares of the stage between which a reduction's strength goes from 0 to 1, by `shape`;
            (0, 0) is full strength throughout, (2, 2) none.
        soft: reductions gate rows and drop none.
        trains: patterns of parameter names, such as "heads.*".
        frozen: patterns of parameters that stay bit-equal.
        exits: whose guesses the objective sees.
        lr: factor on the run's learning rate, which warms up and decays within the stage.
        objective: in place of the run's own.
    """

    share: float = 1.0
    ramp: tuple[float, float] = (0.0, 0.0)
    shape: Literal["linear", "cubic"] = "linear"
    soft: bool = False
    trains: tuple[str, ...] = ("*",)
    frozen: tuple[str, ...] = ()
    exits: Literal["all", "last", "early"] = "all"
    lr: float = 1.0
    objective: Objective | None = None

    def moves(self, name: str) -> bool:
        """True where this stage trains the parameter of this name."""
        frozen = any(fnmatchcase(name, pattern) for pattern in self.frozen)
        return not frozen and any(fnmatchcase(name, pattern) for pattern in self.trains)

    def strength(self, progress: float) -> float:
        """Tell how strongly a reduction acts when so much of the stage (0 ... 1) is done."""
        begin, end = self.ramp
        if progress >= end:
            return 1.0
        if progress <= begin:
            return 0.0
        linear = (progress - begin) / (end - begin)
        return linear if self.shape == "linear" else 1 - (1 - linear) ** 3
