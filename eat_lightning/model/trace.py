"""What happens to the examples of a batch on their way through the encoder.

Shapes: B examples, G of them that left together, L layers, C classes, E exits so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.model.contracts import Policy, Wish
from eat_lightning.model.held import Held
from eat_lightning.model.packed import Batch, Packed
from eat_lightning.model.reason import Reason


@dataclass
class Trace:
    """What happened to each example of a batch.

    logits_BC: the answer, divided by its head's temperature. guesses: logits by exit layer, NaN for
    an example that had left. depth_B: layers run. tokens_LB: tokens entering each layer, 0 where it
    was not run. reason_B: a `Reason` each. penalties: terms that methods add to the loss.
    depth, tokens and reasons lie on the host.
    """

    logits_BC: Tensor
    guesses: dict[int, Tensor]
    depth_B: Int[Tensor, " b"]
    tokens_LB: Int[Tensor, "l b"]
    reason_B: Int[Tensor, " b"]
    penalties: dict[str, Tensor] = field(default_factory=dict)

    @property
    def retention_B(self) -> Float[Tensor, " b"]:
        """Tokens entering the last executed layer / tokens entering layer 1."""
        last_B = self.tokens_LB.gather(0, self.depth_B[None] - 1)[0]
        return last_B.double() / self.tokens_LB[0]

    def take(self, rows_G: Int[Tensor, " g"]) -> Trace:
        """Only the examples named (rows on the host)."""
        on_device = rows_G.to(self.logits_BC.device)
        return Trace(
            self.logits_BC[on_device],
            {layer: guess_BC[on_device] for layer, guess_BC in self.guesses.items()},
            self.depth_B[rows_G],
            self.tokens_LB[:, rows_G],
            self.reason_B[rows_G],
        )


class Journey:
    """Writes a trace while examples pass and leave."""

    def __init__(self, num_layers: int, size: int):
        self.size = size
        self.here_B: Tensor | None = None  # rows of the examples still here; None: all of them
        self.guesses: dict[int, Tensor] = {}
        self.depth_B = torch.zeros(self.size, dtype=torch.int64)
        self.tokens_LB = torch.zeros(num_layers, self.size, dtype=torch.int64)
        self.reason_B = torch.zeros(self.size, dtype=torch.int64)
        self.held = Held(np.zeros(self.size, np.int64))
        self.logits_BC: Tensor | None = None

    @property
    def rows_B(self) -> Int[Tensor, " b"]:
        """Of the examples still here, on the host."""
        return torch.arange(self.size) if self.here_B is None else self.here_B

    def at_end(self) -> Int[Tensor, " b"]:
        """Reasons of those who ran every layer."""
        return torch.from_numpy(self.held.at_end(self.rows_B.numpy()))

    def wish(self, wish: Wish) -> None:
        self.held.wish(wish)

    def review(
        self,
        policies: Sequence[Policy],
        reason_B: Int[Tensor, " b"],
        logits_EBC: Float[Tensor, "e b c"],
        batch: Batch,
    ) -> Int[Tensor, " b"]:
        """Reasons at an early exit, on the host, after policies; who is held back has 0."""
        on_host_EBC = logits_EBC.detach().float().cpu().numpy()
        said = reason_B.numpy(), on_host_EBC, batch, self.rows_B.numpy()
        return torch.from_numpy(self.held.review(policies, *said))

    def enter(self, layer: int, packed: Packed) -> None:
        here = slice(None) if self.here_B is None else self.here_B
        self.tokens_LB[layer - 1, here] = packed.layout.lengths_B

    def guess(self, layer: int, logits_BC: Tensor) -> None:
        if self.here_B is not None:
            whole = logits_BC.new_full((self.size, logits_BC.shape[1]), float("nan"))
            whole[self.here_B.to(whole.device, non_blocking=True)] = logits_BC
            logits_BC = whole
        self.guesses[layer] = logits_BC

    def stack(self, layers: Sequence[int]) -> Float[Tensor, "e b c"]:
        """The guesses at `layers` so far of those still here."""
        guesses_EBC = torch.stack([self.guesses[k] for k in layers if k in self.guesses])
        if self.here_B is None:
            return guesses_EBC
        return guesses_EBC[:, self.here_B.to(guesses_EBC.device, non_blocking=True)]

    def leave(
        self, layer: int, reason_B: Int[Tensor, " b"]
    ) -> tuple[Int[Tensor, " g"], Bool[Tensor, " b"]]:
        """Note who leaves here and why (reasons on the host); returns the rows that left, and who
        of those that were here stays."""
        stays_B = reason_B == Reason.STAYS
        rows = self.rows_B
        gone_G = rows[~stays_B]
        self.depth_B[gone_G], self.reason_B[gone_G] = layer, reason_B[~stays_B]
        guess = self.guesses[layer]
        if self.logits_BC is None:
            self.logits_BC = guess
        else:
            on_device = gone_G.to(guess.device, non_blocking=True)
            self.logits_BC = self.logits_BC.index_copy(0, on_device, guess[on_device])
        self.here_B = rows[stays_B]
        return gone_G, stays_B

    def part(self, rows_G: Int[Tensor, " g"]) -> Trace:
        """The trace of examples that have left."""
        return self.end().take(rows_G)

    def end(self) -> Trace:
        assert self.logits_BC is not None
        return Trace(self.logits_BC, self.guesses, self.depth_B, self.tokens_LB, self.reason_B)
