"""PoWER-BERT (Goyal et al. 2020): learn how many tokens each layer needs, and keep those that
receive most attention.

A token's score is the attention that it receives from other tokens, s_j = sum_{i != j} A_ij, with
attention A averaged over heads. During a search, the rows of layer l, ranked by score, are
multiplied by retention parameters W_l[rank] in [0, 1] (soft-extract), x_j <- W_l[rank of s_j] x_j,
and lambda sum_l l m_l is added to the loss, with the mass m_l = sum_r W_l[r]. Afterwards, layer l
keeps ceil(m_l) tokens, namely [CLS] and the best others, and never more than the layer before
(extract).

Ranks and mass refer to the example's own t tokens. The released code counts over the padded length,
so that most of the mass lies on padding.

Adam moves a parameter by about its learning rate per step, so a search can lower W by at most the
sum of its rates, which is called `travel` here. In the paper's recipes (rate x steps / 2) that is
0.26 (MRPC) to 2.0
(QNLI); its rate for SST-2 in a search of 180 steps would be a travel of 0.05, which drops none of
20 tokens. The setting is therefore the travel, from which the rate follows for the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eat_lightning.methods.reduction._topk import keep_highest, order
from eat_lightning.model.contracts import Knob, Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Layers, NotNegative, Point, Positive, Share


@method("reduction")
class PowerBert(Reduction, nn.Module):
    """Keeps a learned number of the tokens that receive most attention, for each layer.

    Args:
        penalty: lambda, the weight of the mass in the loss.
        travel: how far a search can move a retention parameter.
        lr: a learning rate instead of `travel`, as in the paper.
        extent: share of the learned reduction to apply, from 0 (nothing) to 1.
    """

    layers: Layers = (1, 2, 3, 4, 5)
    penalty: NotNegative = 0.0002
    lr: Positive | None = None
    extent: Point = 1.0
    travel: Positive = 0.8

    place = "after_attention"
    needs = frozenset({"received", "diagonal"})
    knob = Knob(
        "extent",
        strict=0.0,
        grid=(0.25, 0.5, 0.75, 1.0),
        fine=tuple(round(0.05 * k, 2) for k in range(21)),
        bounds=Share,
    )

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        self.retention = nn.Parameter(torch.ones(len(self.layers), shape.max_positions))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        rate = {"travel": self.travel} if self.lr is None else {"lr": self.lr}
        return [{"params": [self.retention], "weight_decay": 0.0} | rate]

    def after_step(self) -> None:
        with torch.no_grad():
            self.retention.clamp_(0, 1)

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        return evidence.received_N - evidence.diagonal_N

    def soften(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        """Rows times the retention parameter of their rank (soft-extract)."""
        layout, place = packed.layout, self.layers.index(layer)
        order_BL = order(packed, self.score(packed, evidence), first=False)
        place_BL = torch.arange(layout.longest, device=layout.device).expand_as(order_BL)
        rank_BL = torch.empty_like(order_BL).scatter_(1, order_BL, place_BL)
        factor_N = self.retention[place][layout.unpad(rank_BL)]
        mass_B = self.retention[place].cumsum(0)[layout.there(layout.lengths_B) - 1]
        packed = packed.with_x(packed.x_ND * factor_N[:, None].to(packed.x_ND.dtype))
        return packed.with_penalty("retention", self.penalty * layer * mass_B)

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        lengths_B = self._kept(packed, layer)
        return keep_highest(packed, self.score(packed, evidence), lengths_B)

    def export_blockers(self) -> list[str]:
        return ["reduction=power_bert counts an example's first tokens, which no graph hands on"]

    def _kept(self, packed: Packed, layer: int) -> Int[Tensor, " b"]:
        """Tokens that each example keeps, on the host: of t that there were, t - p (t - mass) with
        p = extent x strength, and no more than there are."""
        assert packed.original_B is not None
        mass_L = self.retention[self.layers.index(layer)].detach().double().cpu().cumsum(0)
        learned_B = mass_L[packed.original_B - 1]
        dropped_B = self.extent * packed.strength_B * (packed.original_B - learned_B)
        kept_B = torch.ceil(packed.original_B - dropped_B - 1e-9).long().clamp(min=1)
        return torch.minimum(kept_B, packed.layout.lengths_B)
