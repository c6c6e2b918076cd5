"""Global past-future exits (GPFEE, Liao et al. 2021): a head reads the pooled vectors of all
previous exits, and imitates those of later exits.

Every exit j has a pooler, a matrix that imitates its pooled vector s_j from an earlier one s_i,
s~_j = tanh(s_i M_j), and classes W_j. Exit i answers

    2 g sum_{j<=i} s_j W_j + 2 (1 - g) sum_{j>i} s~_j W_j

with a learned gate g for each class. M_j learns from 1 - cos(s~_j, s_j), averaged over all pairs;
the vectors of earlier exits and the imitated ones have no gradient. It is meant for joint training
(objective=depth_weighted), since the last exit reads what early heads pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.methods.head.pooled import Pooled
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context
from eat_lightning.validation import NotNegative


@method("head")
class PastFuture(Pooled):
    """Classifier of an exit's vector and those of previous exits.

    Args:
        pool: as in `pooled`.
        activation: as in `pooled`.
        imitation: weight of the imitation loss relative to that of the exits (equal in the paper).
    """

    imitation: NotNegative = 1.0

    alone = False
    wants_earlier = True

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        super().bind(shape, exits, num_labels)
        self.imitate = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.gate = nn.Linear(shape.hidden_size, num_labels)
        self.gate_out = nn.Linear(num_labels, num_labels)

    def join(self, layer: int, heads: Mapping[int, PastFuture]) -> None:
        """Know the others, without a part in their parameters (hence in a list)."""
        self.layer = layer
        self.others = [dict(heads)]

    def _past(self) -> list[PastFuture]:
        """The heads up to this one."""
        return [head for layer, head in self.others[0].items() if layer <= self.layer]

    def _future(self) -> list[PastFuture]:
        return [head for layer, head in self.others[0].items() if layer > self.layer]

    def _imitated(self, earlier_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Return this head's future pooled vector, predicted from an earlier head's."""
        return torch.tanh(self.imitate(earlier_BD))

    def guess(
        self, pooled_BD: Float[Tensor, "b d"], earlier: Sequence[Float[Tensor, "b d"]] = ()
    ) -> Float[Tensor, "b c"]:
        """Calibrated logits; earlier: what each exit before this one pooled."""
        known = [*(seen_BD.detach() for seen_BD in earlier), pooled_BD]
        past = [(head, self.dropout(x_BD)) for head, x_BD in zip(self._past(), known, strict=True)]
        gate_BC = torch.stack([head.gate(x_BD) for head, x_BD in past]).mean(0)
        share_BC = torch.sigmoid(self.gate_out(torch.tanh(gate_BC)))
        logits_BC = 2 * share_BC * sum(head.classes(x_BD) for head, x_BD in past)
        for head in self._future():
            ahead_BC = head.classes(self.dropout(head._imitated(pooled_BD)))
            logits_BC = logits_BC + 2 * (1 - share_BC) * ahead_BC
        return logits_BC / self.temperature

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """The imitation's loss of each example, given once for all pairs, by the last head."""
        pairs = [] if self._future() else [*combinations(sorted(context.pools), 2)]
        if not pairs:
            return {}
        distances = []
        for early, late in pairs:
            imitated_BD = self.others[0][late]._imitated(context.pools[early])
            target_BD = context.pools[late].detach()
            distances.append(1 - F.cosine_similarity(imitated_BD.float(), target_BD.float()))
        return {"imitation": self.imitation * torch.stack(distances).mean(0)}

    def export_blockers(self) -> list[str]:
        return ["head=past_future sees earlier exits, which the graphs do not carry"]

    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> float:
        """Cost of one guess: a product for each exit to come; pooling is left out."""
        width, num_past, num_future = shape.hidden_size, len(self._past()), len(self._future())
        dense = width**2 if self.activation else 0
        maps = width * num_labels * (2 * num_past + num_future) + num_labels**2
        return 2.0 * (dense + num_future * width**2 + maps)
