"""THE MODEL: one packed Transformer encoder with slots for attention, reduction, exit and policies.

BERT, DistilBERT, MiniLM and MPNet are shapes of it (Devlin et al. 2019; Song et al. 2020 add one
relative-position bias shared by all layers). The way of an example is `AdaptiveEncoder.travel`.

Shapes: B examples, G of them that left together, L longest length, N packed tokens, D width,
H heads, K head width, C classes, E exits so far.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eat_lightning.bounds import raise_faults
from eat_lightning.model.contracts import Evidence, Exit, Kernel, Pattern, Policy, Reduction, Where
from eat_lightning.model.heads import ACTIVATIONS, Head, head_faults
from eat_lightning.model.packed import Batch, Layout, Packed, on_host
from eat_lightning.model.together import wished
from eat_lightning.model.trace import Journey, Trace


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder. `position_offset`: the id of the first position (MPNet: 2).
    `relative_buckets`: 0, or the buckets of a relative-position bias shared by all layers."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int = 512
    type_vocab_size: int = 2
    eps: float = 1e-12
    position_offset: int = 0
    relative_buckets: int = 0
    dropout: float = 0.1
    attention_dropout: float = 0.1
    hidden_act: str = "gelu"
    sep_token_id: int = 102
    pad_token_id: int = 0

    @property
    def max_length(self) -> int:
        """The longest example, in tokens."""
        return self.max_positions - self.position_offset


class Embedding(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.offset = shape.position_offset
        self.word = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position = nn.Embedding(shape.max_positions, shape.hidden_size)
        types = shape.type_vocab_size
        self.token_type = nn.Embedding(types, shape.hidden_size) if types else None
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, batch: Batch, index_N: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        x_ND = self.word(batch.ids_N) + self.position(index_N + self.offset)
        if self.token_type is not None:
            x_ND = x_ND + self.token_type(batch.types_N)
        return self.dropout(self.norm(x_ND))


class RelativeBias(nn.Module):
    """T5's bucketed relative-position bias, one per head, as MPNet uses it."""

    bucket: Tensor

    def __init__(self, num_buckets: int, num_heads: int, max_positions: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_buckets, num_heads))
        self.zero = max_positions - 1
        distance = torch.arange(-self.zero, self.zero + 1)
        self.register_buffer("bucket", relative_bucket(distance, num_buckets), persistent=False)

    def forward(self, packed: Packed) -> Float[Tensor, "b h l l"]:
        """Bias by original positions, so that pruning does not move a token."""
        position_BL = packed.layout.pad(packed.position_N)
        distance_BLL = position_BL[:, None, :] - position_BL[:, :, None]
        bucket_BLL = self.bucket[distance_BLL + self.zero]
        return F.embedding(bucket_BLL, self.weight).permute(0, 3, 1, 2)


def relative_bucket(
    distance: Int[Tensor, ...], num_buckets: int, max_distance: int = 128
) -> Int[Tensor, ...]:
    """Key position - query position -> bucket: half for each sign; exact near, logarithmic far."""
    half = num_buckets // 2
    exact = half // 2
    far = distance.abs().clamp(min=1).float()
    growth = torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)
    bucket = torch.where(distance.abs() < exact, distance.abs(), exact + growth.long())
    return bucket.clamp(max=half - 1) + (distance > 0).long() * half


class Layer(nn.Module):
    """One post-norm Transformer layer; only the attention product leaves the packed rows."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.hidden_size
        self.num_heads, self.attention_dropout = shape.num_heads, shape.attention_dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=shape.eps)
        self.up = nn.Linear(width, shape.intermediate_size)
        self.down = nn.Linear(shape.intermediate_size, width)
        self.output_norm = nn.LayerNorm(width, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.act = ACTIVATIONS[shape.hidden_act]

    def attend(
        self,
        packed: Packed,
        mask: Tensor | None,
        needs: frozenset[str],
        kernel: Kernel | None = None,
    ) -> tuple[Packed, Evidence]:
        """`kernel`: the pattern's own product, which knows who sees whom without the mask."""
        layout, x_ND = packed.layout, packed.x_ND
        qkv_N = self.qkv(x_ND).unflatten(-1, (3, self.num_heads, -1))
        dropout = self.attention_dropout if self.training else 0.0
        evidence = Evidence()
        if kernel is None or needs:
            q, k, v = layout.pad(qkv_N).permute(2, 0, 3, 1, 4)
            if mask is not None and mask.dtype != torch.bool:
                mask = mask.to(q.dtype)
            if needs:
                evidence = gather_evidence(layout, q.detach(), k.detach(), mask, needs)
        if kernel is None:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
            mixed_ND = layout.unpad(mixed.transpose(1, 2).flatten(2))
        else:
            mixed_ND = kernel(qkv_N, layout, dropout).flatten(1)
        return packed.with_x(self.attention_norm(x_ND + self.dropout(self.out(mixed_ND)))), evidence

    def feed_forward(self, packed: Packed) -> Packed:
        x_ND = packed.x_ND
        change_ND = self.down(self.act(self.up(x_ND)))
        return packed.with_x(self.output_norm(x_ND + self.dropout(change_ND)))


def gather_evidence(
    layout: Layout, q: Tensor, k: Tensor, mask: Tensor | None, needs: frozenset[str]
) -> Evidence:
    """The attention that a reduction asks for, in fp32; the whole matrix only for `received`."""
    evidence = Evidence()
    if "received" in needs:
        weights_BHLL = attention_weights(q, k, mask)
        if not layout.even:
            weights_BHLL = weights_BHLL * layout.real_BL[:, None, :, None]
        evidence.received_N = layout.unpad(weights_BHLL.mean(1).sum(1))
    if "cls" in needs:
        row_mask = mask if mask is None or mask.shape[-2] == 1 else mask[..., :1, :]
        weights_BH1L = attention_weights(q[:, :, :1], k, row_mask)
        evidence.cls_N = layout.unpad(weights_BH1L.mean(1)[:, 0])
    return evidence


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Float[Tensor, "b h q k"]:
    with torch.autocast(q.device.type, enabled=False):  # it would multiply in bf16
        scores = (q.float() @ k.float().transpose(-1, -2)) / math.sqrt(q.shape[-1])
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, float("-inf"))
        elif mask is not None:
            scores = scores + mask.float()
        return scores.softmax(-1)


def attention_mask(
    packed: Packed, pattern: Pattern, layer: int, bias: RelativeBias | None, see_all: bool = False
) -> Tensor | None:
    """Who sees whom as a mask for the padded block: bool, or float where a bias is added, or None
    where nothing is hidden. Built once for each length change and way of seeing. `see_all`: hide
    the padding alone."""
    layout = packed.layout
    see_all = see_all or pattern.sees_all(layout.longest, layer)
    key = "all" if see_all else ("pattern", layer)
    if key not in layout.cache:
        seen = None if layout.even else layout.real_BL[:, None, None, :]
        if not see_all:
            hidden_from = pattern_mask(packed, pattern, layer)
            seen = hidden_from if seen is None else seen & hidden_from
        if bias is not None:
            bias_BHLL = bias(packed)
            seen = bias_BHLL if seen is None else bias_BHLL.masked_fill(~seen, float("-inf"))
        layout.cache[key] = seen
    return layout.cache[key]


def pattern_mask(packed: Packed, pattern: Pattern, layer: int) -> Bool[Tensor, "b 1 l l"]:
    layout = packed.layout
    index = torch.arange(layout.longest, device=layout.device)[None]
    position = layout.pad(packed.position_N)
    length = layout.there(layout.lengths_B)[:, None]
    q = Where(index[..., None], position[..., None], length[..., None], layer)
    k = Where(index[:, None], position[:, None], length[:, None], layer)
    return pattern.sees(q, k)[:, None]


class AdaptiveEncoder(nn.Module):
    """The encoder with its slots filled.

    head: {"layers": exit layers (the last is always added), "pool": "cls" | "mean",
    "activation": "tanh" | "relu" | None}. The slots may be replaced at any time; an exit needs a
    head at each of its layers. `policies` are asked in their order, and cost nothing where there is
    none. `strength` (0 ... 1) is saved with the weights.
    """

    strength: Tensor

    def __init__(
        self,
        shape: Shape,
        num_labels: int,
        attention: Pattern,
        reduction: Reduction,
        exit: Exit,
        head: dict[str, Any],
        policies: Sequence[Policy] = (),
    ):
        super().__init__()
        raise_faults(head_faults(shape.num_layers, **head))
        self.shape, self.num_labels = shape, num_labels
        self.attention, self.reduction, self.exit = attention, reduction, exit
        self.policies: Sequence[Policy] = policies
        self.head: dict[str, Any] = {"pool": "cls", "activation": "tanh"} | head
        self.head["layers"] = sorted({*self.head.get("layers", ()), shape.num_layers})
        self.embedding = Embedding(shape)
        buckets = shape.relative_buckets
        self.relative = (
            RelativeBias(buckets, shape.num_heads, shape.max_positions) if buckets else None
        )
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_layers))
        pool, activation = self.head["pool"], self.head["activation"]
        self.heads = nn.ModuleDict(
            {
                str(k): Head(shape.hidden_size, num_labels, pool, activation, shape.dropout)
                for k in self.head["layers"]
            }
        )
        self.register_buffer("strength", torch.ones((), dtype=torch.float64))
        self.apply(initialise)

    def forward(self, batch: Batch, leave: bool | None = None) -> Trace:
        """`leave`: examples leave where the exit rule says so (the default outside training); else
        every head guesses for every example, and all run to the last layer."""
        leave = not self.training if leave is None else leave
        journey = Journey(len(self.layers), batch.size)
        for _ in self.travel(batch, journey, leave):
            pass
        return journey.end()

    def stream(self, batch: Batch) -> Iterator[tuple[Int[Tensor, " g"], Trace]]:
        """At each exit the rows of the batch that left there, and their trace: the easy ones are
        answered before the hard ones are done. Together they are what `forward` gives."""
        journey = Journey(len(self.layers), batch.size)
        for rows_G in self.travel(batch, journey, leave=True):
            yield rows_G, journey.part(rows_G)

    def travel(self, batch: Batch, journey: Journey, leave: bool) -> Iterator[Int[Tensor, " g"]]:
        """The way of the examples, written into `journey`; gives the rows that left at each exit
        where any did."""
        packed: Packed | None = self.start(batch, journey, leave)
        number = 0
        while packed is not None:
            number, gone_G, packed = self.advance(packed, batch, journey, number + 1, leave)
            if len(gone_G):
                yield gone_G

    def start(self, batch: Batch, journey: Journey, leave: bool) -> Packed:
        packed = self.embed(batch)
        return self.ask(packed, batch, journey, leave) if self.policies else packed

    def advance(
        self, packed: Packed, batch: Batch, journey: Journey, first: int, leave: bool
    ) -> tuple[int, Int[Tensor, " g"], Packed | None]:
        """From layer `first` through the next that has an exit: its number, the rows that left
        there, and the others as they enter the layer after it (None: there are none)."""
        last = len(self.layers)
        guessing = {*self.exit.layers, last} if leave else {int(k) for k in self.heads}
        exit_layer = min(number for number in guessing if number >= first)
        for number in range(first, exit_layer):
            journey.enter(number, packed)
            packed = self.shorten(*self.run_layer(packed, number), number)
        journey.enter(exit_layer, packed)
        packed, evidence = self.run_layer(packed, exit_layer)
        journey.guess(exit_layer, self.heads[str(exit_layer)](packed))
        reason_B = self.decide(batch, journey, exit_layer, leave)
        gone_G = reason_B[:0]
        if reason_B.any():
            gone_G, stays_B = journey.leave(exit_layer, reason_B)
            if not stays_B.any():
                return exit_layer, gone_G, None
            evidence = evidence.take(packed.rows_of(stays_B))
            packed = packed.only(stays_B)
        return exit_layer, gone_G, self.shorten(packed, evidence, exit_layer)

    def kernel(self, layout: Layout, layer: int, needs: frozenset[str]) -> Kernel | None:
        """The pattern's own product, if it has one that can do without a bias and the matrix."""
        make = getattr(self.attention, "kernel", None)
        blocked = self.relative is not None or "received" in needs
        return None if make is None or blocked else make(layout, layer)

    def run_layer(self, packed: Packed, number: int) -> tuple[Packed, Evidence]:
        """Layer `number`, with a reduction that acts within it."""
        layer, reduction = self.layers[number - 1], self.reduction
        assert isinstance(layer, Layer)
        reducing = number in reduction.layers
        needs = reduction.needs if reducing else frozenset()
        kernel = self.kernel(packed.layout, number, needs)
        mask = attention_mask(packed, self.attention, number, self.relative, kernel is not None)
        packed, evidence = layer.attend(packed, mask, needs, kernel)
        if reducing and reduction.place == "after_attention":
            packed = reduction(packed, evidence, number)
        return layer.feed_forward(packed), evidence

    def shorten(self, packed: Packed, evidence: Evidence, number: int) -> Packed:
        """A reduction that acts after layer `number`; after the last there is nothing to save."""
        after = self.reduction.place == "after_layer" and number < len(self.layers)
        if after and number in self.reduction.layers:
            packed = self.reduction(packed, evidence, number)
        return packed

    def embed(self, batch: Batch) -> Packed:
        layout = batch.layout()
        index_N = layout.index_N
        x_ND = self.embedding(batch, index_N)
        special_N = (index_N == 0) | (batch.ids_N == self.shape.sep_token_id)
        strength_B = on_host(self.strength).double().expand(batch.size)
        return Packed(x_ND, layout, index_N, special_N, strength_B)

    def ask(self, packed: Packed, batch: Batch, journey: Journey, leave: bool) -> Packed:
        """The examples with what policies wish for them before they start."""
        wish = wished(self.policies, batch, self.reduction)
        if leave:
            journey.wish(wish)
        if wish.strength_B is None:
            return packed
        strength_B = torch.from_numpy(wish.strength_B)
        return replace(packed, strength_B=torch.minimum(packed.strength_B, strength_B))

    def decide(self, batch: Batch, journey: Journey, layer: int, leave: bool) -> Int[Tensor, " b"]:
        """A reason for each example still here, on the host: the one wait for the device an exit
        costs. At the last layer all leave."""
        if layer == len(self.layers):
            return journey.at_end()
        if not leave:
            return torch.zeros_like(journey.rows_B)
        logits_EBC = journey.stack(self.exit.layers)
        reason_B = self.exit.decides(logits_EBC).cpu()
        if self.policies:
            reason_B = journey.review(self.policies, reason_B, logits_EBC, batch)
        return reason_B


def initialise(module: nn.Module) -> None:
    """BERT's: normal of 0.02 for matrices, zero biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, RelativeBias):
        nn.init.normal_(module.weight, std=0.02)


def with_slots(encoder: Any, **methods: Any) -> Any:
    """A twin of an encoder that shares its weights, with other methods in some slots (or, of any
    module, a twin that shares its parts but for those given)."""
    twin = copy.copy(encoder)
    twin._modules = dict(encoder._modules)  # a method may be a module itself
    for slot, method in methods.items():
        setattr(twin, slot, method)
    return twin
