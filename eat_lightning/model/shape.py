"""Sizes of an encoder, and the parts that it is made of by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder, and the parts that it is made of by name.

    Args:
        position_offset: the id of the first position (MPNet: 2).
        relative_buckets: 0, or the buckets of relative positions shared by all layers.
        layerdrop: the share of training steps that leave a layer out (LayerDrop, Fan et al. 2020).
        head_width: of each head (0: hidden_size / num_heads; a narrowed encoder has fewer heads
            than would fill its width).
        heads_by_layer: of a narrowed encoder whose layers differ; num_heads is then the most.
        inner_by_layer: the same of inner neurons and intermediate_size.
        embedding_size: of a token before it is projected to hidden_size (0: that, without a
            projection).
        absolute_positions: they are in the embedding.
        relative: how distance enters attention, a name of `positions.DISTANCES`; "bias" is there
            where relative_buckets is above 0.
        rotary_base: of "rotary", with local_rotary_base in local layers.
        norm: "last" (BERT) or "first" in a residual block.
        feed_forward: "plain" or "gated".
        biases: linear maps and norms have them.
        layer_groups: how many layers have weights of their own, of which each stands for an equal
            stretch (0: all).
        local_layers: numbers of those whose tokens see local_window / 2 on each side, counted in
            the original text.
        family: as what transformers knows the backbone, which only its files ask.
    """

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
    layerdrop: float = 0.0
    head_width: int = 0
    hidden_act: str = "gelu"
    sep_token_id: int = 102
    pad_token_id: int = 0
    embedding_size: int = 0
    absolute_positions: bool = True
    relative: str = "bias"
    rotary_base: float = 10_000.0
    local_rotary_base: float = 10_000.0
    norm: str = "last"
    feed_forward: str = "plain"
    biases: bool = True
    layer_groups: int = 0
    local_layers: Sequence[int] = ()
    local_window: int = 128
    family: str = ""
    heads_by_layer: Sequence[int] | None = None
    inner_by_layer: Sequence[int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "local_layers", self.local_layers or ())
        listed = {"heads_by_layer": self.heads_by_layer, "inner_by_layer": self.inner_by_layer}
        for name, given in (listed | {"local_layers": self.local_layers}).items():
            if given is not None:  # a file has lists
                object.__setattr__(self, name, tuple(given))

    def at(self, layer: int) -> Shape:
        """The sizes of one layer (1-based), as if all were like it."""
        heads, inner = self.heads_by_layer, self.inner_by_layer
        if heads is None and inner is None:
            return self
        return replace(
            self,
            num_heads=self.num_heads if heads is None else heads[layer - 1],
            intermediate_size=self.intermediate_size if inner is None else inner[layer - 1],
            head_width=self.width_of_head,
            heads_by_layer=None,
            inner_by_layer=None,
        )

    def of_layers(self, chosen: Sequence[int]) -> Shape:
        """The shape with these layers alone (0-based)."""
        heads, inner = self.heads_by_layer, self.inner_by_layer
        heads = heads and tuple(heads[i] for i in chosen)
        local = [new + 1 for new, old in enumerate(chosen) if old + 1 in self.local_layers]
        inner = inner and tuple(inner[i] for i in chosen)
        return replace(
            self,
            num_layers=len(chosen),
            num_heads=max(heads or [self.num_heads]),
            intermediate_size=max(inner or [self.intermediate_size]),
            head_width=self.head_width or (self.width_of_head if heads else 0),
            heads_by_layer=heads,
            inner_by_layer=inner,
            local_layers=local,
        )

    @property
    def num_distinct(self) -> int:
        """Layers that have weights of their own."""
        return self.layer_groups or self.num_layers

    @property
    def up_width(self) -> int:
        """Output width of `up` for each token, twice the inner neurons where they have gates."""
        return self.intermediate_size * (2 if self.feed_forward == "gated" else 1)

    @property
    def width_of_head(self) -> int:
        return self.head_width or self.hidden_size // self.num_heads

    @property
    def attention_width(self) -> int:
        """The width of all heads together, which queries, keys and values have for each token."""
        return self.num_heads * self.width_of_head

    @property
    def max_length(self) -> int:
        """The longest example, in tokens."""
        return self.max_positions - self.position_offset
