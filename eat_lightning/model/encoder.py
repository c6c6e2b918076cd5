"""The model: a packed Transformer encoder with slots for attention, reduction, exit and policies.

BERT, RoBERTa, MPNet, ALBERT, ModernBERT and DeBERTa are all this encoder: a `Shape` names the sizes
and the parts (`layer.py`, `positions.py`) that tell them apart. Start with `AdaptiveEncoder.run`,
the loop over the layers; the methods stand in the order in which a pass calls them.

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
    """The state of a pass at an exit.

    Args:
        layer: the exit's layer, 0 for the embedding.
        left_G: rows of the batch that left there.
        packed: the remaining examples as they enter the next layer; None if none remain.
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
        head: settings of the exit heads, kept in `head`; the modules are in `heads`. "kind" is a
            head's file name ("pooled" by default), "layers" the exit layers or "all" (the last
            layer is always added), "last" the kind and arguments of the last layer's head if it
            differs. All other keys are arguments of the kind.
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
        has_part = shape.relative != "bias" or shape.relative_buckets
        self.relative = DISTANCES[shape.relative](shape) if has_part else None
        distinct = [Layer(shape.at(i + 1), after_norm=i == 0) for i in range(shape.num_distinct)]
        self.layers = Layers(distinct, shape.num_layers)
        norm = nn.LayerNorm(shape.hidden_size, eps=shape.eps, bias=shape.biases)
        self.final_norm = norm if shape.norm == "first" else None
        self.heads = make_heads(shape, self.kind, self.head)
        self.head |= kept_arguments(self.heads.at(layers[0]))
        if "last" in self.head:
            last = Specification.of("head", self.heads.at(shape.num_layers))
            self.head["last"] = last.as_dict()
        self.register_buffer("strength", torch.ones((), dtype=torch.float64))
        self.apply(initialise)
        self.attention = self.bind(attention)
        self.reduction = self.bind(reduction)
        self.exit = self.bind_exit(exit)

    def forward(self, batch: Batch, options: PassOptions = USUAL) -> Trace:
        """Run a batch and return the answer, depth and tokens of each example."""
        recorder = self.recorder(batch, options)
        stops = self.run(self.start(batch, recorder), batch, recorder)
        deque(stops, maxlen=0)  # a loop variable would keep the vectors of the last stop alive
        return recorder.end()

    def stream(self, batch: Batch) -> Iterator[tuple[Int[Tensor, " g"], Trace]]:
        """Yield the rows that left at an exit, with their trace, so that easy examples are answered
        before hard ones are done. All of them together are what `forward` returns."""
        recorder = self.recorder(batch, PassOptions(leave=True))
        for stop in self.run(self.start(batch, recorder), batch, recorder):
            if len(stop.left_G):
                yield stop.left_G, recorder.take(stop.left_G)

    def recorder(self, batch: Batch, options: PassOptions) -> TraceRecorder:
        """Return an empty recorder for a pass."""
        if options.leave is None:
            options = replace(options, leave=not self.training)
        return TraceRecorder(len(self.layers), batch.size, self.rule, options)

    @property
    def rule(self) -> ExitRule:
        """The exit rule without the exits at which no example can leave."""
        return only_open(self.exit, self.policies)

    def start(self, batch: Batch, recorder: TraceRecorder) -> Packed:
        """Embed a batch, with the strengths of the reduction that policies request."""
        packed = self.embed(batch, recorder.options.soft and self.training)
        strength_B = recorder.begin(self.policies, batch, self.reduction)
        if strength_B is None:
            return packed
        return replace(packed, strength_B=torch.minimum(packed.strength_B, strength_B))

    def embed(self, batch: Batch, soft: bool = False) -> Packed:
        """Return the embedded tokens of a batch, with the notes that methods want."""
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

    def run(
        self, packed: Packed, batch: Batch, recorder: TraceRecorder, first: int = 0
    ) -> Iterator[Stop]:
        """Run examples through the layers, and yield at each exit. What happens to the examples is
        noted in `recorder`.

        Args:
            packed: the vectors that enter layer `first`.
            batch: the examples, whose known fields policies read.
            first: the layer to start from; 0 looks at the exit on the embedding first.
        """
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
                    recorder.inside.penalties = dict(packed.penalties)
                    yield Stop(number, left_G, None)
                    return
                rows_M = packed.rows_of(stays_B)
                packed, evidence = packed.only(stays_B, rows_M), evidence.take(rows_M)
            packed = self.shorten(packed, evidence, number, options.skips)
            yield Stop(number, left_G, packed)

    def step(self, packed: Packed, recorder: TraceRecorder, number: int) -> tuple[Packed, Evidence]:
        """Run layer `number`, and note what enters and leaves it. Layer 0 is the embedding, which
        `start` has run already."""
        options = recorder.options
        if number > 0:
            recorder.enter(number, packed)
        if number == 0 or number in options.skips:
            evidence = Evidence()
        else:
            if options.keep_scores:
                scores_BHLL = self.layers[number - 1].scores(packed, self.relative, number)
                recorder.inside.scores[number] = Scores(packed, scores_BHLL)
            packed, evidence = self.run_layer(packed, number)
        if options.keep_hidden:
            recorder.inside.hidden[number] = packed
        return packed, evidence

    def run_layer(self, packed: Packed, number: int) -> tuple[Packed, Evidence]:
        """Return the vectors after layer `number`, and the evidence that its attention left."""
        packed, evidence = self.attend(packed, number)
        if number in self.reduction.layers and self.place(packed) == "after_attention":
            packed = self.reduce(packed, evidence, number)
        return self.layers[number - 1].feed_forward(packed), evidence

    def attend(self, packed: Packed, number: int) -> tuple[Packed, Evidence]:
        """Apply the attention of a layer: the pattern's own kernel if it can be used here, else
        the fused product under a mask."""
        reduction, distance = self.reduction, self.relative
        needs = reduction.needs if number in reduction.layers else frozenset()
        kernel, mask = self.kernel(packed, number, needs), None
        if kernel is None or needs:
            see_all, half_window = kernel is not None, self.half_window(packed, number)
            mask = attention_mask(packed, self.attention, number, distance, see_all, half_window)
        grad = packed.soft and reduction.grad
        layer = self.layers[number - 1]
        return layer.attend(packed, mask, needs, kernel, grad, distance, number)

    def kernel(self, packed: Packed, layer: int, needs: frozenset[str]) -> Kernel | None:
        """Return the pattern's own product, or None if it has none or the layer needs what only a
        full attention matrix has: a bias, weights of keys, or evidence about every query."""
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
        """Return how far a token sees in a layer with local attention; None if it sees the whole
        text."""
        if layer not in self.shape.local_layers:
            return None
        half_window, span = self.shape.local_window // 2, packed.span
        return None if span is not None and span - 1 <= half_window else half_window

    def guess(self, packed: Packed, recorder: TraceRecorder, number: int) -> Packed:
        """Note the logits of the head at a layer, and the signals that the exit rule observes.
        Returns the same vectors; in training an objective's `flow` scales their gradient before and
        after the head."""
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
            recorder.inside.pools[number] = recorder.of_all(pooled_BD)
        return scaled_gradient(packed, through)

    def for_heads(self, packed: Packed) -> Packed:
        """Return the vectors as heads and exit rules read them. A pre-norm backbone applies its
        final norm here."""
        return packed if self.final_norm is None else packed.with_x(self.final_norm(packed.x_ND))

    def flow_at(self, number: int, options: PassOptions) -> tuple[float, float]:
        """Return the gradient factors of an objective's `flow` at a head; 1 outside training."""
        if options.flow is None or not self.training:
            return 1.0, 1.0
        layers = self.heads.layers
        return options.flow(layers.index(number) + 1, len(layers))

    def decide(self, batch: Batch, recorder: TraceRecorder, layer: int) -> Int[Tensor, " b"]:
        """Return the reason code of each remaining example, 0 if it stays. At the last layer all
        leave. The codes are on the host: this is the one time that an exit waits for the device."""
        if layer == len(self.layers):
            return recorder.at_end()
        if not recorder.options.leave or layer not in recorder.exit.layers:
            return torch.zeros_like(recorder.here_B)
        return recorder.decide(layer, self.policies, batch)

    def shorten(
        self, packed: Packed, evidence: Evidence, number: int, skips: frozenset[int] = frozenset()
    ) -> Packed:
        """Apply the reduction if it acts after layer `number`; on the embedding (0) every reduction
        does. After the last layer it would save nothing, and a skipped layer leaves no evidence."""
        after = number == 0 or self.place(packed) == "after_layer"
        acts = after and number in self.reduction.layers and number not in skips
        if not acts or number == len(self.layers):
            return packed
        return self.reduce(packed, evidence, number)

    def reduce(self, packed: Packed, evidence: Evidence, number: int) -> Packed:
        """Call the reduction, or its soft stand-in, and check what it returns."""
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
        """Return where in a layer the reduction acts, which may differ in a soft stage."""
        return (packed.soft and self.reduction.soft_place) or self.reduction.place

    def replacing(
        self,
        attention: Attention | None = None,
        reduction: Reduction | None = None,
        exit: ExitRule | None = None,
        policies: Sequence[Policy] | None = None,
    ) -> AdaptiveEncoder:
        """Return a twin that shares the weights, with other methods in some slots. A method with
        parameters takes over those of a method of its own class; else new ones are created."""
        twin = sharing(self)
        if attention is not None:
            replace_part(twin, "attention", self.bind(attention, self.attention))
        if reduction is not None:
            replace_part(twin, "reduction", self.bind(reduction, self.reduction))
        if exit is not None:
            replace_part(twin, "exit", self.bind_exit(exit, self.exit))
        if policies is not None:
            twin.policies = policies
        return twin

    def bind(self, method: P, before: EncoderPart | None = None) -> P:
        """Return the method with its parameters: those of the method `before` it in the slot if
        both have the same class, else new ones."""
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

    def bind_exit(self, exit: ExitRule, before: EncoderPart | None = None) -> ExitRule:
        """Return the rule with its parameters, after it was shown the heads."""
        exit = self.bind(exit, before)
        exit.join(self.heads.by_layer)
        return exit


def with_weights(
    encoder: AdaptiveEncoder,
    weights: dict[str, Tensor],
    batch: Batch,
    options: PassOptions = USUAL,
) -> Trace:
    """Run a pass with other weights in place of the encoder's. Their sizes may differ, so that a
    narrower layer's weights make a layer that narrow."""
    if not weights:
        return encoder(batch, options)
    return functional_call(encoder, weights, (batch, options))


def bias_faults(shape: Shape, attention: Attention) -> list[str]:
    """List what a backbone adds to attention scores or hides, which an approximate product cannot
    do."""
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
