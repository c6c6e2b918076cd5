"""THE MODEL: one packed Transformer encoder with slots for attention, reduction, exit and policies.

BERT, RoBERTa, MPNet, ALBERT, ModernBERT, DeBERTa and their like are shapes of it, each of which
names the parts that it is made of (`layer.py`, `positions.py`). The way of an example is
`AdaptiveEncoder.run`.

Shapes: B examples, G of them that left together, L longest length, N packed tokens, D width,
H heads, K head width, C classes, E exits so far.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.func import functional_call

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.model.banded import local_kernel
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
from eat_lightning.model.heads import (
    head_faults,
    head_settings,
    layers_with_heads,
    make_heads,
    pooled_faults,
)
from eat_lightning.model.inside import Scores
from eat_lightning.model.layer import (
    Embedding,
    Layer,
    Layers,
    initialise,
    replace_part,
    sharing,
)
from eat_lightning.model.masks import attention_mask
from eat_lightning.model.method import kept_arguments
from eat_lightning.model.packed import NOTES, Batch, Packed, on_host
from eat_lightning.model.positions import DISTANCES
from eat_lightning.model.recorder import USUAL, PassOptions, TraceRecorder
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.model.training import scaled_gradient
from eat_lightning.validation import Misshaped, raise_faults

P = TypeVar("P", bound=EncoderPart)


@dataclass
class Stop:
    """An exit that a pass has come to.

    Args:
        layer: its number.
        left_G: rows of the batch that left there.
        packed: the others, as they enter the next layer; None: there are none.
    """

    layer: int
    left_G: Int[Tensor, " g"]
    packed: Packed | None


class AdaptiveEncoder(nn.Module):
    """A packed Transformer encoder with a method in each slot.

    An exit rule needs a head at each of its layers. `replacing` returns a twin with other methods.
    The `strength` of the reduction (0 ... 1) is saved with the weights.

    Args:
        shape: sizes and parts of the backbone.
        num_labels: outputs of the last head: labels, or 1 for a score.
        attention, reduction, exit, policies: the methods; policies act in their order.
        head: {"kind": a head's file name ("pooled" if left out), "layers": exit layers (or "all";
            the last is always added), and that kind's arguments; "last": kind and arguments of the
            last layer's head, where it is another}.
        kind: kind of its answers. None: one label of several, or a score if `num_labels` is 1.
    """

    attention: Attention
    reduction: Reduction
    exit: ExitRule
    strength: Tensor

    def __init__(
        self,
        shape: Shape,
        num_labels: int,
        attention: Attention,
        reduction: Reduction,
        exit: ExitRule,
        head: dict[str, Any],
        policies: Sequence[Policy] = (),
        kind: AnswerKind | None = None,
    ):
        super().__init__()
        faults = [
            *head_faults(shape.num_layers, head),
            *evidence_faults(reduction.needs),
        ]
        faults += bias_faults(shape, attention)
        raise_faults(faults or pooled_faults(exit, head))
        self.shape, self.num_labels, self.kind = shape, num_labels, kind or kind_of({}, num_labels)
        self.policies: Sequence[Policy] = policies
        layers = layers_with_heads(head.get("layers", ()), shape.num_layers)
        self.head = head_settings(head, layers)
        self.embedding = Embedding(shape)
        apart = shape.relative != "bias" or shape.relative_buckets
        self.relative = DISTANCES[shape.relative](shape) if apart else None
        alone = [Layer(shape.at(i + 1), after_norm=i == 0) for i in range(shape.num_distinct)]
        self.layers = Layers(alone, shape.num_layers)
        norm = nn.LayerNorm(shape.hidden_size, eps=shape.eps, bias=shape.biases)
        self.final_norm = norm if shape.norm == "first" else None
        self.heads = make_heads(shape, self.kind, self.head)
        self.head |= kept_arguments(self.heads.at(layers[0]))
        if "last" in self.head:
            last = Specification.of("head", self.heads.at(shape.num_layers))
            self.head["last"] = last.as_dict()
        self.register_buffer("strength", torch.ones((), dtype=torch.float64))
        self.apply(initialise)
        self.attention = self.fitted(attention)
        self.reduction = self.fitted(reduction)
        self.exit = self.knowing_heads(self.fitted(exit))

    def forward(self, batch: Batch, options: PassOptions = USUAL) -> Trace:
        """Run a batch and return the answer, depth and tokens of each example."""
        recorder = self.recorder(batch, options)
        stops = self.run(self.start(batch, recorder), batch, recorder)
        deque(stops, maxlen=0)  # a loop's variable would keep the vectors of the last stop
        return recorder.end()

    def stream(self, batch: Batch) -> Iterator[tuple[Int[Tensor, " g"], Trace]]:
        """Yield the rows that left at an exit, and their trace, so that easy examples are answered
        before hard ones are done. Together they are what `forward` returns."""
        recorder = self.recorder(batch, PassOptions(leave=True))
        for stop in self.run(self.start(batch, recorder), batch, recorder):
            if len(stop.left_G):
                yield stop.left_G, recorder.take(stop.left_G)

    def run(
        self, packed: Packed, batch: Batch, recorder: TraceRecorder, first: int = 0
    ) -> Iterator[Stop]:
        """Run examples through the layers, from `first` (0: the embedding) on, and note in
        `recorder` what happens to them. Stops at each exit."""
        options = recorder.options
        exits = self.heads.guessing(recorder.exit if options.leave else None)
        for number in range(first, len(self.layers) + 1):
            packed, evidence = self.step(packed, recorder, number)
            if number not in exits:
                packed = self.shorten(packed, evidence, number, options.skips)
                continue
            packed = self.guess(packed, recorder, number)
            reason_B = self.decide(batch, recorder, number)
            left_G = reason_B[:0]
            if reason_B.any():
                left_G, stays_B = recorder.leave(number, reason_B)
                if not stays_B.any():  # as at the last layer
                    recorder.penalties = dict(packed.penalties)
                    yield Stop(number, left_G, None)
                    return
                rows_M = packed.rows_of(stays_B)
                packed, evidence = packed.only(stays_B, rows_M), evidence.take(rows_M)
            packed = self.shorten(packed, evidence, number, options.skips)
            yield Stop(number, left_G, packed)

    def step(self, packed: Packed, recorder: TraceRecorder, number: int) -> tuple[Packed, Evidence]:
        """Run layer `number`, and note what enters and leaves it. Layer 0 is the embedding, which
        has run."""
        options = recorder.options
        if number > 0:
            recorder.enter(number, packed)
        if number == 0 or number in options.skips:
            evidence = Evidence()
        else:
            if options.keep_scores:
                recorder.scores[number] = self.scores(packed, number)
            packed, evidence = self.run_layer(packed, number)
        if options.keep_hidden:
            recorder.hidden[number] = packed
        return packed, evidence

    def run_layer(self, packed: Packed, number: int) -> tuple[Packed, Evidence]:
        """The vectors behind layer `number`, and the evidence that its attention left."""
        packed, evidence = self.attend(packed, number)
        if number in self.reduction.layers and self.place(packed) == "after_attention":
            packed = self.reduce(packed, evidence, number)
        return self.layers[number - 1].feed_forward(packed), evidence

    def attend(self, packed: Packed, number: int) -> tuple[Packed, Evidence]:
        """The attention of a layer: by the pattern's own product where that will do, else by the
        fused one under a mask."""
        reduction, distance = self.reduction, self.relative
        needs = reduction.needs if number in reduction.layers else frozenset()
        kernel, mask = self.kernel(packed, number, needs), None
        if kernel is None or needs:
            see_all, half_window = kernel is not None, self.half_window(packed, number)
            mask = attention_mask(packed, self.attention, number, distance, see_all, half_window)
        grad = packed.soft and reduction.grad
        layer = self.layers[number - 1]
        return layer.attend(packed, mask, needs, kernel, grad, distance, number)

    def guess(self, packed: Packed, recorder: TraceRecorder, number: int) -> Packed:
        """Note what the head at a layer guesses, and what the exit rule observes there. Returns the
        same vectors; an objective's `flow` scales their gradient before and behind the head."""
        head = self.heads.at(number)
        into, through = self.flow_at(number, recorder.options)
        packed = scaled_gradient(packed, into)
        seen = self.for_heads(packed)
        earlier = (recorder.pooled(),) if head.wants_earlier else ()
        pooled_BD = head.pooled(seen)
        logits_BC = self.kind.padded(head.guess(pooled_BD, *earlier))
        signal_BS = self.exit.observe(seen, pooled_BD, logits_BC, number)
        recorder.guess(number, logits_BC, signal_BS)
        if earlier:
            recorder.pools[number] = recorder.of_all(pooled_BD)
        return scaled_gradient(packed, through)

    def decide(self, batch: Batch, recorder: TraceRecorder, layer: int) -> Int[Tensor, " b"]:
        """A reason for each example still here, 0 where it stays, on the host: the one wait for the
        device that an exit costs. At the last layer all leave."""
        if layer == len(self.layers):
            return recorder.at_end()
        layers = recorder.exit.layers
        if not recorder.options.leave or layer not in layers:
            return torch.zeros_like(recorder.here_B)
        logits_EBC = recorder.stack(layers)
        reason_B = recorder.decided(layers, logits_EBC).cpu()
        if self.policies:
            reason_B = recorder.review(self.policies, reason_B, logits_EBC, batch)
        return reason_B

    def shorten(
        self, packed: Packed, evidence: Evidence, number: int, skips: frozenset[int] = frozenset()
    ) -> Packed:
        """The vectors after a reduction that acts behind layer `number`; on the embedding (0) every
        reduction does. Behind the last layer nothing is saved, and a layer that was skipped leaves
        no evidence."""
        after = number == 0 or self.place(packed) == "after_layer"
        acts = after and number in self.reduction.layers and number not in skips
        if not acts or number == len(self.layers):
            return packed
        return self.reduce(packed, evidence, number)

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

    def place(self, packed: Packed) -> str:
        """Where the reduction acts: a soft stage may gate elsewhere than rows are dropped."""
        return (packed.soft and self.reduction.soft_place) or self.reduction.place

    def for_heads(self, packed: Packed) -> Packed:
        """The vectors as heads and exit rules read them: normed, which a backbone whose blocks norm
        first has not done yet."""
        return packed if self.final_norm is None else packed.with_x(self.final_norm(packed.x_ND))

    def flow_at(self, number: int, options: PassOptions) -> tuple[float, float]:
        """The factors of an objective's `flow` at the head of a layer; 1 outside training."""
        if options.flow is None or not self.training:
            return 1.0, 1.0
        layers = self.heads.layers
        return options.flow(layers.index(number) + 1, len(layers))

    def scores(self, packed: Packed, number: int) -> Scores:
        return Scores(packed, self.layers[number - 1].scores(packed, self.relative, number))

    def recorder(self, batch: Batch, options: PassOptions) -> TraceRecorder:
        """The record of a pass that begins."""
        if options.leave is None:
            options = replace(options, leave=not self.training)
        return TraceRecorder(len(self.layers), batch.size, self.rule, options)

    @property
    def rule(self) -> ExitRule:
        """The exit rule without those of its exits at which nobody can leave."""
        return only_open(self.exit, self.policies)

    def start(self, batch: Batch, recorder: TraceRecorder) -> Packed:
        """Embed a batch, with the strengths that policies request for its examples."""
        packed = self.embed(batch, recorder.options.soft and self.training)
        strength_B = recorder.ask(self.policies, batch, self.reduction) if self.policies else None
        if strength_B is None:
            return packed
        return replace(packed, strength_B=torch.minimum(packed.strength_B, strength_B))

    def embed(self, batch: Batch, soft: bool = False) -> Packed:
        layout = batch.layout()
        index_N = layout.index_N
        x_ND = self.embedding(batch, index_N)
        special_N = (index_N == 0) | (batch.ids_N == self.shape.sep_token_id)
        strength_B = on_host(self.strength).double().expand(batch.size)
        wants = self.reduction.wants | self.exit.wants | self.heads.wants
        notes = {
            name: note(batch, layout, special_N) for name, note in NOTES.items() if name in wants
        }
        return Packed(
            x_ND,
            layout,
            index_N,
            special_N,
            strength_B,
            notes=notes,
            original_B=batch.lengths_B,
            soft=soft,
        )

    def kernel(self, packed: Packed, layer: int, needs: frozenset[str]) -> Kernel | None:
        """The pattern's own product, if it has one that can do without a bias and the matrix."""
        pattern = self.attention
        if (half_window := self.half_window(packed, layer)) is not None:
            longest = self.shape.max_length if packed.span is None else packed.layout.longest
            return local_kernel(packed, pattern, layer, half_window, longest, needs)
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

    def half_window(self, packed: Packed, layer: int) -> int | None:
        """How far a token of a layer sees by the backbone's own window; None: over the whole
        text."""
        if layer not in self.shape.local_layers:
            return None
        half_window, span = self.shape.local_window // 2, packed.span
        return None if span is not None and span - 1 <= half_window else half_window

    def replacing(
        self,
        attention: Attention | None = None,
        reduction: Reduction | None = None,
        exit: ExitRule | None = None,
        policies: Sequence[Policy] | None = None,
    ) -> AdaptiveEncoder:
        """A twin that shares the weights, with other methods in some slots. One that learns takes
        over the parameters of the method that it replaces, where that is of its class; else they
        are made.
        """
        twin = sharing(self)
        if attention is not None:
            replace_part(twin, "attention", self.fitted(attention, self.attention))
        if reduction is not None:
            replace_part(twin, "reduction", self.fitted(reduction, self.reduction))
        if exit is not None:
            replace_part(twin, "exit", self.knowing_heads(self.fitted(exit, self.exit)))
        if policies is not None:
            twin.policies = policies
        return twin

    def fitted(self, method: P, before: EncoderPart | None = None) -> P:
        """A method with parameters for this encoder, those of the method before it where both are
        of one class."""
        if method is before:
            return method
        if type(method) is type(before) and overrides(method, EncoderPart.bind):
            twin: Any = copy.copy(before)  # the same parameters, with other plain arguments
            for name, value in kept_arguments(method).items():
                setattr(twin, name, value)
            return twin
        method.bind(self.shape, self.head["layers"], self.num_labels)
        if isinstance(method, nn.Module):  # a new module is in training
            method.train(self.training)
        return method

    def knowing_heads(self, exit: ExitRule) -> ExitRule:
        """An exit rule that knows the heads."""
        exit.join(self.heads.by_layer)
        return exit


def with_weights(
    encoder: AdaptiveEncoder,
    weights: dict[str, Tensor],
    batch: Batch,
    options: PassOptions = USUAL,
) -> Trace:
    """A pass with these weights in place of the encoder's of their names, which they may differ
    from in size: a layer with the weights of a narrower one is that layer."""
    if not weights:
        return encoder(batch, options)
    return functional_call(encoder, weights, (batch, options))


def bias_faults(shape: Shape, attention: Attention) -> list[str]:
    """An approximate product has no scores that a backbone could add to, and hides nothing."""
    if not attention.approximate:
        return []
    kind = Specification.of("attention", attention).kind
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
