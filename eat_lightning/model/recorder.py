"""One pass of the encoder: its options, and the recorder that writes its trace.

Shapes: B examples, G of them that left together, L layers, C classes, E exits so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.model.contracts import ExitRule, Policy, Reduction, overrides
from eat_lightning.model.contracts.exit import decide
from eat_lightning.model.inside import Inside
from eat_lightning.model.packed import Packed
from eat_lightning.model.policy import PolicyInput, PolicyState, strictest
from eat_lightning.model.reason import Reason, coded, reason_names
from eat_lightning.model.trace import Trace


@dataclass(frozen=True)
class PassOptions:
    """Options of one pass.

    Args:
        leave: whether examples leave where the exit rule decides so. False: every head guesses for
            every example, and all run to the last layer. None: False in training, else True.
        flow: `Objective.flow`, the factors on the gradient at the k-th of so many exits; only used
            in training.
        skips: layers (1-based) that are not run.
        keep_hidden: whether the trace keeps the vectors after each layer.
        keep_scores: whether the trace keeps each layer's attention scores.
        soft: whether reductions gate rows instead of dropping them; only in training.
    """

    leave: bool | None = None
    flow: Callable[[int, int], tuple[float, float]] | None = None
    skips: frozenset[int] = frozenset()
    keep_hidden: bool = False
    keep_scores: bool = False
    soft: bool = False


USUAL = PassOptions()
ALL_EXITS = PassOptions(leave=False)


class TraceRecorder(Trace):
    """The trace of a pass that still runs. Its fields are those of a trace, for all examples;
    methods take and return values of the remaining examples, whose rows are `here_B`.

    Args:
        num_layers: layers of the encoder.
        size: number of examples.
        exit: the rule by which they leave.
        options: options of the pass, in which `leave` is not None.
    """

    def __init__(
        self, num_layers: int, size: int, exit: ExitRule, options: PassOptions = ALL_EXITS
    ):
        Trace.__init__(
            self,
            logits_BC=torch.empty(0),  # until the first example leaves
            depth_B=torch.zeros(size, dtype=torch.int64),
            tokens_LB=torch.zeros(num_layers, size, dtype=torch.int64),
            reason_B=torch.zeros(size, dtype=torch.int64),
            names=reason_names(exit.reasons),
            inside=Inside(),
        )
        self.size, self.exit, self.options = size, exit, options
        self.here_B = torch.arange(size)  # on the host
        self.state = PolicyState(np.zeros(size, np.int64))

    @property
    def all_here(self) -> bool:
        """Whether no example has left yet."""
        return len(self.here_B) == self.size

    def begin(
        self, policies: Sequence[Policy], inputs: PolicyInput, reduction: Reduction | None
    ) -> Float[Tensor, " b"] | None:
        """Ask policies before examples start. Notes who is to run every layer, and returns the
        maximum strength of the reduction for each example; None if no policy limits it."""
        request = strictest(policy.requests(inputs, reduction) for policy in policies)
        if self.options.leave:
            self.state.request(request)
        return None if request.strength_B is None else torch.from_numpy(request.strength_B)

    def enter(self, layer: int, packed: Packed) -> None:
        """Note how many tokens of each example enter a layer."""
        self.tokens_LB[layer - 1, self.here_B] = packed.layout.lengths_B

    def guess(self, layer: int, logits_BC: Tensor, signal_BS: Tensor | None = None) -> None:
        """Note the logits of the head at a layer, and the signals that the exit rule observed."""
        self.guesses[layer] = self.of_all(logits_BC)
        if signal_BS is not None:
            self.signals[layer] = self.of_all(signal_BS)

    def of_all(self, here: Float[Tensor, "g c"]) -> Float[Tensor, "b c"]:
        """Return values of the remaining examples as values of all, NaN for those that left."""
        if self.all_here:
            return here
        whole = here.new_full((self.size, here.shape[1]), float("nan"))
        whole[self.here_B.to(whole.device, non_blocking=True)] = here
        return whole

    def stack(
        self, layers: Sequence[int], noted: dict[int, Tensor] | None = None
    ) -> Float[Tensor, "e b c"]:
        """Return the guesses at `layers` so far, or other values that were `noted` by layer."""
        noted = self.guesses if noted is None else noted
        stacked_EBC = torch.stack([noted[k] for k in layers if k in noted])
        if self.all_here:
            return stacked_EBC
        return stacked_EBC[:, self.here_B.to(stacked_EBC.device, non_blocking=True)]

    def pooled(self) -> list[Float[Tensor, "b d"]]:
        """Return the pooled vectors at the exits so far, for heads that read earlier ones."""
        pools = self.inside.pools
        return [*self.stack([*pools], pools)] if pools else []

    def decide(
        self, layer: int, policies: Sequence[Policy], inputs: PolicyInput
    ) -> Int[Tensor, " b"]:
        """Return the reason codes at an early exit, on the host, 0 for an example that stays: the
        exit rule's, after the policies have reviewed them."""
        so_far = [k for k in self.exit.layers if k <= layer]  # a replay knows later guesses too
        logits_EBC = self.stack(so_far)
        signals_EBS = self.stack(so_far, self.signals) if self.signals else None
        reason_B = coded(decide(self.exit, logits_EBC, signals_EBS)).cpu()
        if not policies:
            return reason_B
        on_host_EBC = logits_EBC.detach().float().cpu().numpy()
        given = reason_B.numpy(), on_host_EBC, inputs, self.here_B.numpy()
        return torch.from_numpy(self.state.review(policies, *given))

    def at_end(self) -> Int[Tensor, " b"]:
        """Return the reason codes of the examples that ran every layer."""
        return torch.from_numpy(self.state.at_end(self.here_B.numpy()))

    def leave(
        self, layer: int, reason_B: Int[Tensor, " b"]
    ) -> tuple[Int[Tensor, " g"], Bool[Tensor, " b"]]:
        """Note depth, reason and answer of the examples that leave at `layer`.

        Args:
            reason_B: reason codes, on the host.

        Returns:
            The rows of the batch that left, and for each example that was here whether it stays.
        """
        stays_B = reason_B == Reason.STAYS
        left_G = self.here_B[~stays_B]
        self.depth_B[left_G], self.reason_B[left_G] = layer, reason_B[~stays_B]
        answer_BC = self.answer(layer)
        if not len(self.logits_BC):
            self.logits_BC = answer_BC
        else:
            on_device = left_G.to(answer_BC.device, non_blocking=True)
            self.logits_BC = self.logits_BC.index_copy(0, on_device, answer_BC[on_device])
        self.here_B = self.here_B[stays_B]
        return left_G, stays_B

    def answer(self, layer: int) -> Float[Tensor, "b c"]:
        """Return the answers of the examples that leave at `layer`, NaN for those that left before.
        An answer is the guess of that exit, unless the exit rule combines the guesses so far."""
        if not overrides(self.exit, ExitRule.answers):
            return self.guesses[layer]
        so_far = sorted(k for k in {*self.exit.layers, layer} if k <= layer)
        return self.of_all(self.exit.answers(self.stack(so_far)))

    def end(self) -> Trace:
        """Return the finished trace."""
        return Trace(**{each.name: getattr(self, each.name) for each in fields(Trace)})
