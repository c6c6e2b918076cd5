"""Record of a batch's examples in the encoder.

Shapes: B examples, G of them that left together, L layers, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.model.packed import Packed
from eat_lightning.model.reason import reason_names


@dataclass
class Scores:
    """A layer's attention scores before softmax, and the rows that entered it."""

    packed: Packed
    scores_BHLL: Float[Tensor, "b h l l"]


@dataclass
class Trace:
    """Record of each example of a batch; depth, tokens and reasons are on the host.

    Args:
        logits_BC: the answer, divided by its head's temperature.
        guesses: logits by exit layer, NaN for an example that had left.
        depth_B: layers run; 0 for an example that left at the embedding.
        tokens_LB: tokens entering each layer, 0 where it was not run.
        reason_B: codes, which `names` explains.
        signals: observed by the exit rule, B x S by layer.
        penalties: terms of each example that methods add to the loss, where nobody left.
        hidden: the vectors after each layer (0: the embedding), where the encoder keeps them.
        pools: vectors of heads that see earlier exits, B x D by layer.
        scores: of attention by layer, where the encoder keeps them.
    """

    logits_BC: Tensor
    guesses: dict[int, Tensor]
    depth_B: Int[Tensor, " b"]
    tokens_LB: Int[Tensor, "l b"]
    reason_B: Int[Tensor, " b"]
    names: dict[int, str] = field(default_factory=reason_names)
    signals: dict[int, Tensor] = field(default_factory=dict)
    penalties: dict[str, Tensor] = field(default_factory=dict)
    hidden: dict[int, Packed] = field(default_factory=dict)
    pools: dict[int, Tensor] = field(default_factory=dict)
    scores: dict[int, Scores] = field(default_factory=dict)

    @property
    def reasons(self) -> list[str]:
        """Each example's reason in words."""
        return [self.names[code] for code in self.reason_B.tolist()]

    @property
    def retention_B(self) -> Float[Tensor, " b"]:
        """Tokens entering the last executed layer / tokens entering layer 1; 1 where none was."""
        last_B = self.tokens_LB.gather(0, (self.depth_B[None] - 1).clamp(min=0))[0]
        return torch.where(self.depth_B > 0, last_B.double() / self.tokens_LB[0], 1.0)

    def take(self, rows_G: Int[Tensor, " g"]) -> Trace:
        """Only the examples named (rows on the host)."""
        on_device = rows_G.to(self.logits_BC.device)
        return Trace(
            self.logits_BC[on_device],
            {layer: guess_BC[on_device] for layer, guess_BC in self.guesses.items()},
            self.depth_B[rows_G],
            self.tokens_LB[:, rows_G],
            self.reason_B[rows_G],
            self.names,
            {layer: signal_BS[on_device] for layer, signal_BS in self.signals.items()},
        )
