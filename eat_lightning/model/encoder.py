"""THE MODEL: one packed Transformer encoder with slots for attention, reduction, exit and policies.

BERT, RoBERTa, MPNet, ALBERT, ModernBERT, DeBERTa and their like are shapes of it, each of which
names the parts that it is made of (`layer.py`, `positions.py`). The way of an example is
`AdaptiveEncoder.travel`.

Shapes: B examples, G of them that left together, L longest length, N packed tokens, D width,
H heads, K head width, C classes, E exits so far.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.func import functional_call

from eat_lightning.bounds import Misshaped, raise_faults
from eat_lightning.model.contracts import (
    Attention,
    EncoderPart,
    ExitRule,
    Kernel,
    Policy,
    Reduction,
    only_open,
    overrides,
)
from eat_lightning.model.evidence import MATRIX, Evidence, evidence_faults
from eat_lightning.model.gradient import scaled_gradient
from eat_lightning.model.heads import (
    head_faults,
    heads_asked,
    layers_with_heads,
    make_heads,
    pooled_faults,
)
from eat_lightning.model.layer import Embedding, Layer, Shape, initialise, make_layers
from eat_lightning.model.local import local_kernel
from eat_lightning.model.masks import attention_mask
from eat_lightning.model.method import kept_arguments
from eat_lightning.model.packed import NOTES, Batch, Packed, on_host
from eat_lightning.model.positions import make_distance
from eat_lightning.model.recorder import TraceRecorder
from eat_lightning.model.specification import MODEL_SLOTS, spec, without_kind
from eat_lightning.model.trace import Scores, Trace
from eat_lightning.model.wish import joined


class AdaptiveEncoder(nn.Module):
    """The encoder with its slots filled.

    head: {"kind": a head's file name ("pooled" if left out), "layers": exit layers (or "all"; the
    last is always added), and that kind's arguments}. The slots may be filled anew at any time; an
    exit needs a head at each of its layers. `policies` are asked in their order, and cost nothing
    where there is none. `strength` (0 ... 1) is saved with the weights. In training: `soft`
    (reductions gate rows and drop none), `flow` (an objective's factors on the gradient at the
    exits), `skips` (layers that are not run), `keep_hidden` (the trace holds the vectors after each
    layer), `keep_scores` (and each layer's attention scores).
    """

    attention: Attention
    reduction: Reduction
    exit: ExitRule
    strength: Tensor
    soft: bool = False
    flow: Callable[[int, int], tuple[float, float]] | None = None
    skips: frozenset[int] = frozenset()
    keep_hidden: bool = False
    keep_scores: bool = False

    def __init__(
        self,
        shape: Shape,
        num_labels: int,
        attention: Attention,
        reduction: Reduction,
        exit: ExitRule,
        head: dict[str, Any],
        policies: Sequence[Policy] = (),
    ):
        super().__init__()
        faults = [*head_faults(shape.num_layers, head), *evidence_faults(reduction)]
        faults += bias_faults(shape, attention)
        raise_faults(faults or pooled_faults(exit, head))
        self.shape, self.num_labels = shape, num_labels
        self.policies: Sequence[Policy] = policies
        layers = layers_with_heads(head.get("layers", ()), shape.num_layers)
        self.head: dict[str, Any] = {"kind": "pooled", **head, "layers": layers}
        self.embedding = Embedding(shape)
        self.relative = make_distance(shape)
        self.layers = make_layers(shape)
        self.final_norm = (
            nn.LayerNorm(shape.hidden_size, eps=shape.eps, bias=shape.biases)
            if shape.norm == "first"
            else None
        )
        self.heads = make_heads(shape, num_labels, self.head)
        self.head |= without_kind(spec("head", self.heads[str(shape.num_layers)]))
        self.register_buffer("strength", torch.ones((), dtype=torch.float64))
        self.apply(initialise)
        self.attention, self.reduction, self.exit = attention, reduction, exit

    def __setattr__(self, name: str, value: Any) -> None:
        """A slot may be filled anew at any time. A method that has parameters takes over those of
        one of its class that it replaces; else they are made (`bind`)."""
        if name not in MODEL_SLOTS:
            return super().__setattr__(name, value)
        own = vars(self).get(name, self._modules.get(name))
        if value is not own:
            if type(own) is type(value) and overrides(value, EncoderPart.bind):
                value = adopted(value, own)
            else:
                value.bind(self.shape, self.head["layers"], self.num_labels)
        if isinstance(value, nn.Module):  # a new module believes that it is in training
            value.train(self.training)
        self._modules.pop(name, None)  # else torch refuses to replace a module by what is none
        super().__setattr__(name, value)

    @property
    def rule(self) -> ExitRule:
        """The exit rule without those of its exits at which nobody can leave."""
        return only_open(self.exit, self.policies)

    def forward(self, batch: Batch, leave: bool | None = None) -> Trace:
        """`leave`: examples leave where the exit rule says so (the default outside training); else
        every head guesses for every example, and all run to the last layer."""
        leave = not self.training if leave is None else leave
        recorder = TraceRecorder(len(self.layers), batch.size, self.rule)
        for _ in self.travel(batch, recorder, leave):
            pass
        return recorder.end()

    def stream(self, batch: Batch) -> Iterator[tuple[Int[Tensor, " g"], Trace]]:
        """At each exit the rows of the batch that left there, and their trace: the easy ones are
        answered before the hard ones are done. Together they are what `forward` gives."""
        recorder = TraceRecorder(len(self.layers), batch.size, self.rule)
        for rows_G in self.travel(batch, recorder, leave=True):
            yield rows_G, recorder.part(rows_G)

    def travel(
        self, batch: Batch, recorder: TraceRecorder, leave: bool
    ) -> Iterator[Int[Tensor, " g"]]:
        """The way of the examples, written into `recorder`; gives the rows that left at each exit
        where any did."""
        packed: Packed | None = self.start(batch, recorder, leave)
        number = 0
        while packed is not None:
            number, gone_G, packed = self.advance(packed, batch, recorder, number + 1, leave)
            if len(gone_G):
                yield gone_G

    def start(self, batch: Batch, recorder: TraceRecorder, leave: bool) -> Packed:
        packed = self.embed(batch)
        if self.keep_hidden:
            recorder.hidden[0] = packed
        packed = self.ask(packed, batch, recorder, leave) if self.policies else packed
        return self.shorten_embedding(packed)

    def advance(
        self, packed: Packed, batch: Batch, recorder: TraceRecorder, first: int, leave: bool
    ) -> tuple[int, Int[Tensor, " g"], Packed | None]:
        """From layer `first` through the next that has an exit: its number, the rows that left
        there, and the others as they enter the layer after it (None: there are none)."""
        guessing = heads_asked(self.heads, recorder.exit if leave else None)
        exit_layer = min(number for number in guessing if number >= first)
        for number in range(first, exit_layer):
            packed = self.shorten(*self.step(packed, recorder, number), number)
        packed, evidence = self.step(packed, recorder, exit_layer)
        packed = self.guess(packed, recorder, exit_layer)
        reason_B = self.decide(batch, recorder, exit_layer, leave)
        gone_G = reason_B[:0]
        if reason_B.any():
            gone_G, stays_B = recorder.leave(exit_layer, reason_B)
            if not stays_B.any():
                recorder.penalties = dict(packed.penalties)
                return exit_layer, gone_G, None
            evidence = evidence.take(packed.rows_of(stays_B))
            packed = packed.only(stays_B)
        return exit_layer, gone_G, self.shorten(packed, evidence, exit_layer)

    def step(self, packed: Packed, recorder: TraceRecorder, number: int) -> tuple[Packed, Evidence]:
        """A layer, with its notes in the recorder."""
        recorder.enter(number, packed)
        if self.keep_scores and number not in self.skips:
            layer: Any = self.layers[number - 1]
            recorder.scores[number] = Scores(packed, layer.scores(packed, self.relative, number))
        packed, evidence = self.run_layer(packed, number)
        if self.keep_hidden:
            recorder.hidden[number] = packed
        return packed, evidence

    def guess(self, packed: Packed, recorder: TraceRecorder, number: int) -> Packed:
        """Note what the head at a layer says, and what the exit rule observes there. Returned are
        the same vectors; an objective's `flow` scales their gradient before and behind the head."""
        head: Any = self.heads[str(number)]
        into, through = self.flow_at(number)
        packed = scaled_gradient(packed, into)
        seen = self.for_heads(packed)
        earlier = (recorder.pooled(),) if head.wants_earlier else ()
        pooled_BD = head.pooled(seen)
        logits_BC = head.guess(pooled_BD, *earlier)
        signal_BS = self.exit.observe(seen, pooled_BD, logits_BC, number)
        recorder.guess(number, logits_BC, signal_BS)
        if earlier:
            recorder.pools[number] = recorder.of_all(pooled_BD)
        return scaled_gradient(packed, through)

    def for_heads(self, packed: Packed) -> Packed:
        """The vectors as heads and exit rules read them: normed, which a body whose blocks norm
        first has not done yet."""
        return packed if self.final_norm is None else packed.with_x(self.final_norm(packed.x_ND))

    def flow_at(self, number: int) -> tuple[float, float]:
        if self.flow is None or not self.training:
            return 1.0, 1.0
        layers = sorted(int(k) for k in self.heads)
        return self.flow(layers.index(number) + 1, len(layers))

    def kernel(self, packed: Packed, layer: int, needs: frozenset[str]) -> Kernel | None:
        """The pattern's own product, if it has one that can do without a bias and the matrix."""
        pattern = self.attention
        if (reach := self.reach(packed, layer)) is not None:
            longest = self.shape.max_length if packed.span is None else packed.layout.longest
            return local_kernel(packed, pattern, layer, reach, longest, needs)
        wants = pattern.wants
        weighed = packed.weight_N is not None and "weight" not in wants
        adds = self.relative is not None and self.relative.adds
        blocked = adds or weighed or needs & MATRIX
        if blocked and not pattern.approximate:
            return None
        product = pattern.kernel(packed.layout, layer)
        if product is None or not wants:
            return product
        return partial(product, **{f"{name}_N": vars(packed)[f"{name}_N"] for name in wants})

    def reach(self, packed: Packed, layer: int) -> int | None:
        """How far a token of a layer sees by the body's own window (None: over the whole text)."""
        if layer not in self.shape.local_layers:
            return None
        reach, span = self.shape.local_window // 2, packed.span
        return None if span is not None and span - 1 <= reach else reach

    def run_layer(self, packed: Packed, number: int) -> tuple[Packed, Evidence]:
        """Layer `number`, with a reduction that acts within it."""
        if number in self.skips:
            return packed, Evidence()
        layer, reduction = self.layers[number - 1], self.reduction
        assert isinstance(layer, Layer)
        reducing = number in reduction.layers
        needs = reduction.needs if reducing else frozenset()
        kernel = self.kernel(packed, number, needs)
        distance, reach, mask = self.relative, self.reach(packed, number), None
        if kernel is None or needs:
            see_all = kernel is not None
            mask = attention_mask(packed, self.attention, number, distance, see_all, reach)
        grad = packed.soft and reduction.grad
        packed, evidence = layer.attend(packed, mask, needs, kernel, grad, distance, number)
        if reducing and self.place(packed) == "after_attention":
            packed = self.reduce(packed, evidence, number)
        return layer.feed_forward(packed), evidence

    def shorten(self, packed: Packed, evidence: Evidence, number: int) -> Packed:
        """A reduction that acts after layer `number`; after the last there is nothing to save."""
        after = self.place(packed) == "after_layer" and 0 < number < len(self.layers)
        if after and number in self.reduction.layers and number not in self.skips:
            packed = self.reduce(packed, evidence, number)
        return packed

    def shorten_embedding(self, packed: Packed) -> Packed:
        """A reduction that acts before layer 1."""
        return self.reduce(packed, Evidence(), 0) if 0 in self.reduction.layers else packed

    def place(self, packed: Packed) -> str:
        """Where the reduction acts: a soft stage may gate elsewhere than rows are dropped."""
        return (packed.soft and self.reduction.soft_place) or self.reduction.place

    def reduce(self, packed: Packed, evidence: Evidence, number: int) -> Packed:
        reduction = self.reduction.soften if packed.soft else self.reduction
        name = type(self.reduction).__name__
        try:
            reduced = reduction(packed, evidence, number)
        except Misshaped as fault:
            raise Misshaped(f"{name}.{fault}") from None
        if not isinstance(reduced, Packed):
            raise Misshaped(f"{name}.__call__ must give a Packed, got {type(reduced).__name__}")
        return reduced

    def embed(self, batch: Batch) -> Packed:
        layout = batch.layout()
        index_N = layout.index_N
        x_ND = self.embedding(batch, index_N)
        special_N = (index_N == 0) | (batch.ids_N == self.shape.sep_token_id)
        strength_B = on_host(self.strength).double().expand(batch.size)
        wants = self.reduction.wants | self.exit.wants
        return Packed(
            x_ND,
            layout,
            index_N,
            special_N,
            strength_B,
            notes={name: note(batch, layout) for name, note in NOTES.items() if name in wants},
            original_B=batch.lengths_B,
            soft=self.soft and self.training,
        )

    def ask(self, packed: Packed, batch: Batch, recorder: TraceRecorder, leave: bool) -> Packed:
        """The examples with what policies wish for them before they start."""
        wish = joined(policy.wishes(batch, self.reduction) for policy in self.policies)
        if leave:
            recorder.wish(wish)
        if wish.strength_B is None:
            return packed
        strength_B = torch.from_numpy(wish.strength_B)
        return replace(packed, strength_B=torch.minimum(packed.strength_B, strength_B))

    def decide(
        self, batch: Batch, recorder: TraceRecorder, layer: int, leave: bool
    ) -> Int[Tensor, " b"]:
        """A reason for each example still here, on the host: the one wait for the device an exit
        costs. At the last layer all leave."""
        if layer == len(self.layers):
            return recorder.at_end()
        layers = recorder.exit.layers
        if not leave or layer not in layers:
            return torch.zeros_like(recorder.rows_B)
        logits_EBC = recorder.stack(layers)
        reason_B = recorder.decided(layers, logits_EBC).cpu()
        if self.policies:
            reason_B = recorder.review(self.policies, reason_B, logits_EBC, batch)
        return reason_B


def bias_faults(shape: Shape, attention: Any) -> list[str]:
    """An approximate product has no scores that a body could add to, and hides nothing."""
    if not attention.approximate:
        return []
    kind = spec("attention", attention)["kind"]
    parts = {
        "relative-position bias": shape.relative == "bias" and shape.relative_buckets,
        "disentangled scores": shape.relative == "disentangled",
        "local windows": shape.local_layers,
    }
    return [
        f"attention={kind} has no place for this encoder's {what}"
        for what, there in parts.items()
        if there
    ]


def adopted(method: Any, own: Any) -> Any:
    """The parameters of `own` with the plain arguments of `method`, which is of the same class."""
    twin = copy.copy(own)
    for name, value in kept_arguments(method).items():
        setattr(twin, name, value)
    return twin


def with_weights(
    encoder: AdaptiveEncoder, weights: dict[str, Tensor], batch: Batch, leave: bool | None = None
) -> Trace:
    """A pass with these weights in place of the encoder's of their names, which they may differ
    from in size: a layer with the weights of a narrower one is that layer."""
    return functional_call(encoder, weights, (batch, leave)) if weights else encoder(batch, leave)


def with_slots(encoder: Any, **methods: Any) -> Any:
    """A twin of an encoder that shares its weights, with other methods in some slots (or, of any
    module, a twin that shares its parts but for those given)."""
    twin = copy.copy(encoder)
    twin._modules = dict(encoder._modules)  # a method may be a module itself
    for slot, method in methods.items():
        setattr(twin, slot, method)
    return twin


def settle(objective: Any, encoder: Any) -> None:
    """Write an objective's effective weights into the encoder."""
    training, own = encoder.training, dict(encoder.named_parameters())
    with torch.no_grad():
        for name, weight in objective.effective_weights(encoder.eval()).items():
            own[name].copy_(weight)
    encoder.train(training)
