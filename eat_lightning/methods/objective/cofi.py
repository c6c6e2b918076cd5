"""CoFi (Xia et al. 2022): learn which heads and inner neurons a smaller encoder needs.

Each head and each neuron has a hard-concrete gate z in [0, 1] (Louizos et al. 2018), which
multiplies its output. A gate is open with probability sigmoid(log alpha - beta ln(-gamma / zeta));
their sum, weighted by the number of weights, is the expected size. With the expected removed share
s, l1 (s - t) + l2 (s - t)^2 is added to the loss, a Lagrangian whose l1 and l2 ascend while all
other parameters descend. The schedule moves t from the share that untrained gates close to
`sparsity`. In addition, the student can learn from teacher=...: its answers, and its vectors layer
by layer.

After training, each layer keeps the expected number of open heads and neurons, namely those with
the highest gates, multiplied by their mean gates. All others are set to zero. `python -m
eat_lightning.export run=... target=encoder` then removes them, which yields the same answers from a
plain encoder whose layers differ in width.

Not implemented: gates on the hidden width and on whole layers (at least one head and one neuron
remain). Since no layer vanishes, each learns from the teacher's layer at the same position, whereas
the paper searches for the nearest.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from eat_lightning.methods.objective._losses import labels_and_teacher, squared_error
from eat_lightning.model.contracts import Objective
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import NotNegative, Positive

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1  # Louizos et al. 2018
MOST = math.log(100)  # of log alpha, either way
START = 1 / (1 + (-ZETA / GAMMA) ** BETA)  # the chance that a gate of log alpha 0 is shut: 0.17


@method("objective")
class CoFi(Objective, nn.Module):
    """Loss of every exit, with hard-concrete gates on heads and inner neurons.

    Args:
        sparsity: share of the weights of heads and feed-forward layers to remove.
        lr: learning rate of the gates and of l1 and l2.
        label_weight: weight of the exits' loss with labels.
        distill: weight of the divergence from the teacher's logits.
        teacher_temperature: temperature of those logits.
        hidden: weight of the squared error to the teacher's vectors (0: no teacher in the step).
    """

    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.5
    lr: Positive = 0.01
    label_weight: NotNegative = 1.0
    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0
    hidden: NotNegative = 0.0

    @property
    def wants(self) -> frozenset[str]:
        return frozenset({"hidden", "teacher_hidden"} if self.hidden else ())

    def bind(self, student: Shape, teacher: Shape | None) -> None:
        """Make the gates, all open with probability 0.83; ValueError for a teacher of another
        shape."""
        if teacher is not None and teacher.num_layers != student.num_layers:
            raise ValueError(
                f"objective=cofi starts from its teacher's own layers: the teacher has "
                f"{teacher.num_layers}, the student {student.num_layers}"
            )
        if teacher is not None and teacher.hidden_size != student.hidden_size:
            raise ValueError("objective=cofi starts from its teacher, and their widths differ")
        sizes = [student.at(k + 1) for k in range(student.num_layers)]
        self.heads = nn.ParameterList(torch.zeros(size.num_heads) for size in sizes)
        self.inner = nn.ParameterList(torch.zeros(size.intermediate_size) for size in sizes)
        self.multipliers = nn.Parameter(torch.zeros(2))
        self.head_width = student.width_of_head
        self.costs = 4 * student.hidden_size * self.head_width, 2 * student.hidden_size

    def groups(self, lr: float) -> list[dict[str, Any]]:
        common = {"lr": self.lr, "weight_decay": 0.0}
        gates = {"params": [*self.heads, *self.inner]} | common
        return [gates, {"params": [self.multipliers], "maximize": True} | common]

    def after_step(self) -> None:
        with torch.no_grad():
            for log_alpha in (*self.heads, *self.inner):
                log_alpha.clamp_(-MOST, MOST)

    def effective_weights(self, encoder: AdaptiveEncoder) -> dict[str, Tensor]:
        """`out` and `down` with the gates on the columns that they read: drawn in training, else as
        they stay. Nothing before the schedule begins."""
        if not encoder.strength:
            return {}
        gates, made = drawn if encoder.training else final_gates, {}
        for i, layer in enumerate(encoder.layers):
            heads_K = gates(self.heads[i]).repeat_interleave(self.head_width)
            made[f"layers.{i}.out.weight"] = layer.out.weight * heads_K
            made[f"layers.{i}.down.weight"] = layer.down.weight * gates(self.inner[i])
        return made

    def _gone(self) -> Float[Tensor, ""]:
        """The expected share of the weights of heads and feed-forwards that is gone."""
        kept: Any = 0.0
        whole = 0
        for cost, gates in zip(self.costs, (self.heads, self.inner), strict=True):
            kept = kept + cost * torch.stack([open_chance(a).sum() for a in gates]).sum()
            whole += cost * sum(len(a) for a in gates)
        return 1 - kept / whole

    def __call__(self, context: Context) -> Loss:
        given = context, self.label_weight, self.distill, self.teacher_temperature
        loss = labels_and_teacher(*given)
        total, parts = loss.total, loss.parts
        if self.hidden:
            parts["hidden"] = self._apart(context)
            total = total + self.hidden * parts["hidden"]
        if context.strength > 0:
            target = START + context.strength * (self.sparsity - START)
            over = self._gone() - target
            lagrangian = self.multipliers[0] * over + self.multipliers[1] * over.square()
            parts["size"] = lagrangian * len(context.labels_B)  # a loss is a sum over examples
            total = total + parts["size"]
        return Loss(total, parts)

    def _apart(self, context: Context) -> Tensor:
        """Squared error to the teacher's vectors behind each layer."""
        pairs = [(context.hidden[k], context.teacher_hidden[k]) for k in context.hidden if k]
        return torch.stack([squared_error(*pair, nn.Identity()) for pair in pairs]).sum()

    def summary(self, encoder: AdaptiveEncoder) -> list[str]:
        """Tell how much is left, and how it becomes a smaller encoder."""
        with torch.no_grad():
            alive = [
                sum(int((final_gates(a) > 0).sum()) for a in g) for g in (self.heads, self.inner)
            ]
        whole = [sum(len(a) for a in gates) for gates in (self.heads, self.inner)]
        return [
            f"cofi: {alive[0]} of {whole[0]} heads and {alive[1]} of {whole[1]} inner neurons left "
            f"({self._gone().item():.2f} of their weights gone, {self.sparsity:g} wanted)",
            "the rest is zero, and costs what it did: python -m eat_lightning.export "
            "run=<this run> target=encoder cuts it out",
        ]


def open_chance(log_alpha_H: Float[Tensor, " h"]) -> Float[Tensor, " h"]:
    """P(z != 0) of a hard-concrete gate (Louizos et al. 2018)."""
    return torch.sigmoid(log_alpha_H - BETA * math.log(-GAMMA / ZETA))


def drawn(log_alpha_H: Float[Tensor, " h"]) -> Float[Tensor, " h"]:
    """Gates of one step: a stretched, clipped concrete variable."""
    u_H = torch.rand_like(log_alpha_H).clamp(1e-6, 1 - 1e-6)
    s_H = torch.sigmoid((u_H.log() - (1 - u_H).log() + log_alpha_H) / BETA)
    return (s_H * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def final_gates(log_alpha_H: Float[Tensor, " h"]) -> Float[Tensor, " h"]:
    """Gates as they stay: the highest, as many as are open in expectation and one at least, at the
    stretched and clipped sigmoid(log alpha); 0 for all others."""
    count = max(1, round(open_chance(log_alpha_H).sum().item()))
    kept_M = log_alpha_H.sort(descending=True, stable=True).indices[:count]
    gate_H = (torch.sigmoid(log_alpha_H) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
    return torch.zeros_like(gate_H).index_copy(0, kept_M, gate_H[kept_M])
