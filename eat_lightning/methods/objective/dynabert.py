"""DynaBERT (Hou et al. 2020): one encoder that works at several widths and depths.

Before the first step, heads and inner neurons of each layer are sorted by importance (|weight x
gradient|), so that the first ones form a narrower encoder ("network rewiring", which does not
change answers). Each step trains all sub-networks with the sum of their losses: each learns from
the teacher's answers and, with weight `hidden`, from its vectors.

There are two runs, as in the paper's two stages, each starting from the weights of the previous
one:

1. adaptive width: encoder.pretrained=<fine-tuned run>/model teacher=<fine-tuned run>, with hidden
   0.1. The teacher answers at its full width.
2. adaptive depth as well: depths=[1.0,0.75,0.5] hidden=1.0, from and with teacher=<run of 1>, which
   teaches each width at that width. At depth m the layers floor(i/m) run.

A third run can fine-tune with labels only: distill=0 hidden=0 label_weight=1. Then `python -m
eat_lightning.export run=... target=encoder heads=6 inner=768 layers=3` turns any of them into a
plain encoder. The paper's augmented data is not implemented.

`released` reproduces the second stage of the authors' code, in which the full width teaches all
widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from eat_lightning.methods.objective._importance import importance, sort_by_importance
from eat_lightning.methods.objective._losses import squared_error, with_penalties
from eat_lightning.model.contracts import Attention, Objective, Pass, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.method import method
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import kind_of
from eat_lightning.model.training import Context, Loss
from eat_lightning.model.widths import layers_left, slices
from eat_lightning.validation import Count, NotNegative

Shares = Sequence[Annotated[float, Field(gt=0, le=1)]]


@method("objective")
class DynaBert(Objective):
    """Sum of the losses of sub-networks of several widths and depths.

    Args:
        widths: shares of the heads and inner neurons of the sub-networks, 1.0 among them.
        depths: shares of their layers, 1.0 among them.
        hidden: weight of the squared error to the teacher's vectors.
        distill: weight of the divergence from its answers, at every exit.
        label_weight: weight of the exits' own loss.
        examples: training examples on which heads and neurons are ranked.
    """

    ordered = True  # heads and neurons lie by importance in what it trained

    widths: Shares = (1.0, 0.75, 0.5, 0.25)
    depths: Shares = (1.0,)
    hidden: NotNegative = 0.1
    distill: NotNegative = 1.0
    label_weight: NotNegative = 0.0
    examples: Count = 512
    released: bool = False

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if not self.hidden + self.distill + self.label_weight:
            yield "objective.label_weight must be above 0 where distill and hidden are 0"
        for name, shares in (("widths", self.widths), ("depths", self.depths)):
            if 1 not in shares:
                yield f"objective.{name} must be a list with 1.0 in it, got {list(shares)}"

    @property
    def wants(self) -> frozenset[str]:
        return frozenset({"hidden", "teacher_hidden"} if self.hidden or self._at_widths else ())

    @property
    def _is_first(self) -> bool:
        """True where this stage trains adaptive width, which begins with sorting."""
        return len(self.depths) == 1 and (self.hidden > 0 or self.distill > 0)

    @property
    def _at_widths(self) -> bool:
        """True where the teacher answers at each width, in the second stage."""
        taught = self.hidden > 0 or self.distill > 0
        return taught and len(self.depths) > 1 and not self.released

    def bind(self, student: Shape, teacher: Shape | None) -> None:
        """ValueError where the teacher is of another shape (the student starts from it), or heads
        cannot leave."""
        if student.relative_buckets and min(self.widths) < 1:
            raise ValueError(
                "objective.widths must be [1.0] for this encoder, whose layers share a "
                f"relative-position bias of {student.num_heads} heads"
            )
        for key in ("num_layers", "hidden_size", "num_heads", "intermediate_size"):
            mine, theirs = vars(student)[key], vars(teacher or student)[key]
            if mine != theirs:
                raise ValueError(f"objective=dynabert: teacher has {key} {theirs}, student {mine}")

    def fits_attention(self, pattern: Attention) -> list[str]:
        """A pattern's own parameters may be one for each head, and heads leave."""
        if not overrides(pattern, Attention.bind):
            return []
        kind = kind_of("attention", type(pattern))
        return [
            f"objective=dynabert narrows attention, and attention={kind} has parameters of its own"
        ]

    def begin(self, encoder: AdaptiveEncoder, batches: Iterable[Batch]) -> None:
        """Sort heads and neurons by importance, before the first stage."""
        if not self._is_first:
            return
        training = encoder.training
        sort_by_importance(encoder, importance(encoder.eval(), batches))
        encoder.train(training)

    @property
    def _pairs(self) -> list[tuple[float, float]]:
        """(width, depth) of each sub-network, the whole one first."""
        found = [(w, d) for w in self.widths for d in self.depths]
        return sorted(found, key=lambda pair: pair != (1, 1))

    def passes(self, step: int, encoder: AdaptiveEncoder) -> list[Pass]:
        """All sub-networks but the whole one, which is the step's own pass."""
        num_layers = encoder.shape.num_layers
        weights = {width: at_width(encoder, width) for width in self.widths}
        ran = {depth: layers_run(num_layers, depth) for depth in self.depths}
        skips = {d: frozenset(range(1, num_layers + 1)).difference(ran[d]) for d in self.depths}
        return [Pass(weights=weights[w], skips=skips[d]) for w, d in self._pairs[1:]]

    def lessons(self, teacher: AdaptiveEncoder) -> list[Pass]:
        """The lessons of the second stage: the teacher at each width but the whole one."""
        return [Pass(weights=at_width(teacher, width)) for width in self._narrower]

    @property
    def _narrower(self) -> list[float]:
        """The widths at which the teacher answers too."""
        return [width for width in self.widths if width != 1] if self._at_widths else []

    def __call__(self, context: Context) -> Loss:
        taught = dict(zip(self._narrower, context.teacher_passes, strict=True))
        guesses, hidden = [context.guesses, *context.passes], [context.hidden]
        hidden += context.hidden_passes
        parts: dict[str, Tensor] = {}
        for (width, depth), guess, vectors in zip(self._pairs, guesses, hidden, strict=True):
            lesson = taught.get(width)
            target_BC = context.teacher_BC if lesson is None else lesson.guesses[context.last]
            shown = context.teacher_hidden if lesson is None else lesson.inside.hidden
            for k in context.guesses:
                task_part = self.label_weight * context.kind.loss(guess[k], context.labels_B)
                parts[f"exit_{k}"] = parts.get(f"exit_{k}", 0.0) + task_part
                if target_BC is not None and self.distill:
                    learned = self.distill * context.kind.divergence(guess[k], target_BC, 1.0)
                    parts[f"distill_{k}"] = parts.get(f"distill_{k}", 0.0) + learned
            if self.hidden:
                layers = [0, *layers_run(context.last, depth)]
                apart = [squared_error(vectors[k], shown[k], nn.Identity()) for k in layers]
                parts["hidden"] = parts.get("hidden", 0.0) + self.hidden * torch.stack(apart).sum()
        return with_penalties(torch.stack([*parts.values()]).sum(), parts, context)

    def summary(self, encoder: AdaptiveEncoder) -> list[str]:
        """Which plain encoders it holds."""
        num_layers, shape = encoder.shape.num_layers, encoder.shape
        widths = [f"heads={h} inner={f}" for h, f in (sizes(shape, w) for w in self.widths)]
        depths = [f"layers={len(layers_run(num_layers, d))}" for d in self.depths]
        return [
            "dynabert: python -m eat_lightning.export run=<this run> target=encoder makes one of "
            f"its widths ({'; '.join(widths)}) and depths ({'; '.join(depths)}) a plain encoder"
        ]


def sizes(shape: Shape, width: float) -> tuple[int, int]:
    """Tell how many heads and inner neurons a share of them is."""
    return max(1, round(width * shape.num_heads)), max(1, round(width * shape.intermediate_size))


def at_width(encoder: AdaptiveEncoder, width: float) -> dict[str, Tensor]:
    """The weights of the encoder's layers at a width; none where it is whole."""
    return slices(encoder, *sizes(encoder.shape, width)) if width != 1 else {}


def layers_run(num_layers: int, depth: float) -> list[int]:
    """The layers (1-based) of a share of them: with every second one left out, layer 1 stays."""
    return [k + 1 for k in layers_left(num_layers, max(1, round(depth * num_layers)))]
