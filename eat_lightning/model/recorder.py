"""One pass of the encoder: its options, and its trace, written while examples pass and leave.

Shapes: B examples, G of them that left together, L layers, C classes, E exits so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.model.contracts import ExitRule, Policy, Reduction, overrides
from eat_lightning.model.contracts.exit import decide
from eat_lightning.model.inside import Inside
from eat_lightning.model.packed import Batch, Packed
from eat_lightning.model.policy import PolicyState, joined
from eat_lightning.model.reason import Reason, coded, reason_names
from eat_lightning.model.trace import Trace


@dataclass(frozen=True)
class PassOptions:
    """Options of one pass.

    Args:
        leave: examples leave where the exit rule decides so; False: every head guesses for every
            example, and all run to the last layer; None: False in training, else True.
        flow: two factors on the gradient at the k-th of so many exits, as `Objective.flow` gives
            them; acts in training.
        skips: layers (1-based) that are not run.
        keep_hidden: the trace holds the vectors after each layer.
        keep_scores: the trace holds each layer's attention scores.
        soft: reductions gate rows and drop none; acts in training.
    """

    leave: bool | None = None
    flow: Callable[[int, int], tuple[float, float]] | None = None
    skips: frozenset[int] = frozenset()
    keep_hidden: bool = False
    keep_scores: bool = False
    soft: bool = False


USUAL = PassOptions()
ALL_EXITS = PassOptions(leave=False)


class TraceRecorder(Trace, Inside):
    """A trace while examples pass and leave, and the vectors within.

    Args:
        num_layers: of the encoder.
        size: examples.
        exit: the rule by which they leave.
        options: of the pass, `leave` known.
    """

    def __init__(
        self, num_layers: int, size: int, exit: ExitRule, options: PassOptions = ALL_EXITS
    ):
        Trace.__init__(
            self,
            logits_BC=torch.empty(0),  # until somebody leaves
            depth_B=torch.zeros(size, dtype=torch.int64),
            tokens_LB=torch.zeros(num_layers, size, dtype=torch.int64),
            reason_B=torch.zeros(size, dtype=torch.int64),
            names=reason_names(exit.reasons),
        )
        Inside.__init__(self)
        self.size, self.exit, self.options = size, exit, options
        self.stay_B: Tensor | None = None  # rows of the examples still here; None: all of them
        self.state = PolicyState(np.zeros(size, np.int64))

    @property
    def here_B(self) -> Int[Tensor, " b"]:
        """Places of the examples still here, on the host."""
        return torch.arange(self.size) if self.stay_B is None else self.stay_B

    def ask(
        self, policies: Sequence[Policy], batch: Batch, reduction: Reduction
    ) -> Float[Tensor, " b"] | None:
        """The largest strengths of a reduction that policies request, before examples start; None
        where they request none."""
        request = joined(policy.requests(batch, reduction) for policy in policies)
        if self.options.leave:
            self.state.request(request)
        return None if request.strength_B is None else torch.from_numpy(request.strength_B)

    def at_end(self) -> Int[Tensor, " b"]:
        """Reasons of those who ran every layer."""
        return torch.from_numpy(self.state.at_end(self.here_B.numpy()))

    def review(
        self,
        policies: Sequence[Policy],
        reason_B: Int[Tensor, " b"],
        logits_EBC: Float[Tensor, "e b c"],
        batch: Batch,
    ) -> Int[Tensor, " b"]:
        """Reasons at an early exit, on the host, after policies; who is held back has 0."""
        on_host_EBC = logits_EBC.detach().float().cpu().numpy()
        given = reason_B.numpy(), on_host_EBC, batch, self.here_B.numpy()
        return torch.from_numpy(self.state.review(policies, *given))

    def enter(self, layer: int, packed: Packed) -> None:
        here = slice(None) if self.stay_B is None else self.stay_B
        self.tokens_LB[layer - 1, here] = packed.layout.lengths_B

    def guess(self, layer: int, logits_BC: Tensor, signal_BS: Tensor | None = None) -> None:
        """Note what the head at a layer says of those still here, and what the exit observed."""
        self.guesses[layer] = self.of_all(logits_BC)
        if signal_BS is not None:
            self.signals[layer] = self.of_all(signal_BS)

    def of_all(self, here: Float[Tensor, "g c"]) -> Float[Tensor, "b c"]:
        """Values of those still here among NaN for those who left."""
        if self.stay_B is None:
            return here
        whole = here.new_full((self.size, here.shape[1]), float("nan"))
        whole[self.stay_B.to(whole.device, non_blocking=True)] = here
        return whole

    def stack(
        self, layers: Sequence[int], noted: dict[int, Tensor] | None = None
    ) -> Float[Tensor, "e b c"]:
        """The guesses at `layers` so far (or other values `noted` by layer) of those still here."""
        noted = self.guesses if noted is None else noted
        stacked_EBC = torch.stack([noted[k] for k in layers if k in noted])
        if self.stay_B is None:
            return stacked_EBC
        return stacked_EBC[:, self.stay_B.to(stacked_EBC.device, non_blocking=True)]

    def pooled(self) -> list[Float[Tensor, "b d"]]:
        """The pooled vectors at the exits so far of those still here, for heads that want them."""
        return [*self.stack([*self.pools], self.pools)] if self.pools else []

    def decided(self, layers: Sequence[int], logits_EBC: Float[Tensor, "e b c"]) -> Tensor:
        """Codes of those still here, by the exit rule, from the guesses at `layers` so far."""
        signals_EBS = self.stack(layers, self.signals) if self.signals else None
        return coded(decide(self.exit, logits_EBC, signals_EBS))

    def leave(
        self, layer: int, reason_B: Int[Tensor, " b"]
    ) -> tuple[Int[Tensor, " g"], Bool[Tensor, " b"]]:
        """Note who leaves here and why (codes on the host); returns the rows that left, and who of
        those that were here stays."""
        stays_B = reason_B == Reason.STAYS
        rows = self.here_B
        gone_G = rows[~stays_B]
        self.depth_B[gone_G], self.reason_B[gone_G] = layer, reason_B[~stays_B]
        answer_BC = self.answer(layer)
        if not len(self.logits_BC):
            self.logits_BC = answer_BC
        else:
            on_device = gone_G.to(answer_BC.device, non_blocking=True)
            self.logits_BC = self.logits_BC.index_copy(0, on_device, answer_BC[on_device])
        self.stay_B = rows[stays_B]
        return gone_G, stays_B

    def answer(self, layer: int) -> Float[Tensor, "b c"]:
        """Return the answers of the examples that leave at `layer`, NaN for those that left before.
        An answer is the guess of that exit, unless the exit rule combines all guesses so far."""
        if not overrides(self.exit, ExitRule.answers):
            return self.guesses[layer]
        # A replay knows the guesses of later exits too.
        looked = [k for k in {*self.exit.layers, layer} if k <= layer]
        return self.of_all(self.exit.answers(self.stack(sorted(looked))))

    def end(self) -> Trace:
        return Trace(
            logits_BC=self.logits_BC,
            depth_B=self.depth_B,
            tokens_LB=self.tokens_LB,
            reason_B=self.reason_B,
            names=self.names,
            guesses=self.guesses,
            signals=self.signals,
            inside=Inside(self.penalties, self.hidden, self.pools, self.scores),
        )
