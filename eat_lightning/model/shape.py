"""The shape of an encoder: its sizes, and the names of the parts it is made of, with bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field

from eat_lightning.validation import Beside, Layers, is_whole, value_faults

Size = Annotated[int, Field(ge=1, le=2147483647)]
Number = Annotated[int, Field(ge=0, le=2147483647)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Base = Annotated[float, Field(gt=1)]
ByLayer = Sequence[Size] | None
Activation = Literal["tanh", "relu", "gelu", "gelu_new", "silu"]


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder, and the names of the parts it is made of.

    Args:
        max_positions: positions that the backbone has (`max_length` is the longest example).
        eps: epsilon of the layer norms.
        position_offset: id of the first position (MPNet: 2).
        relative_buckets: number of buckets of relative positions, shared by all layers; 0: none.
        layerdrop: share of training steps that skip a layer (LayerDrop, Fan et al. 2020).
        head_width: width of each head; 0: hidden_size / num_heads. A narrowed encoder has fewer
            heads than would fill its width. `width_of_head` has the number in either case.
        embedding_size: width of a token's embedding before it is projected to hidden_size; 0:
            hidden_size, without a projection.
        absolute_positions: whether the embedding has positions.
        relative: how distance enters attention, a name of `positions.DISTANCES`. "bias" means none
            if relative_buckets is 0.
        rotary_base, local_rotary_base: base of "rotary", and that of local layers.
        norm: "last" (post-norm, BERT) or "first" (pre-norm).
        feed_forward: "plain" or "gated" (GeGLU).
        biases: whether linear maps and norms have biases.
        layer_groups: number of layers with weights of their own, each used for equally many layers
            in a row (ALBERT); 0: all.
        local_layers: layers (1-based) whose tokens see local_window / 2 tokens on each side,
            counted in the original text.
        family: name of the backbone's architecture in transformers.
        heads_by_layer: number of heads of each layer in a narrowed encoder whose layers differ;
            num_heads is then the largest.
        inner_by_layer: inner neurons of each layer; intermediate_size is then the largest.
    """

    vocab_size: Size
    hidden_size: Size
    num_layers: Annotated[int, Field(ge=1, le=1000)]
    num_heads: Size
    intermediate_size: Size
    max_positions: Annotated[int, Field(ge=1, le=1048576)] = 512  # there are tables of all
    type_vocab_size: Number = 2
    eps: Annotated[float, Field(gt=0, lt=1)] = 1e-12
    position_offset: Number = 0
    relative_buckets: Number = 0
    dropout: Probability = 0.1
    attention_dropout: Probability = 0.1
    layerdrop: Probability = 0.0
    head_width: Number = 0
    hidden_act: Activation = "gelu"
    sep_token_id: Number = 102
    pad_token_id: Number = 0
    embedding_size: Number = 0
    absolute_positions: bool = True
    relative: Literal["bias", "rotary", "disentangled"] = "bias"
    rotary_base: Base = 10_000.0
    local_rotary_base: Base = 10_000.0
    norm: Literal["last", "first"] = "last"
    feed_forward: Literal["plain", "gated"] = "plain"
    biases: bool = True
    layer_groups: Number = 0
    local_layers: Layers = ()
    local_window: Number = 128
    family: str = ""
    heads_by_layer: ByLayer = None
    inner_by_layer: ByLayer = None

    def __post_init__(self) -> None:
        for name in ("local_layers", "heads_by_layer", "inner_by_layer"):
            if (given := vars(self)[name]) is not None:  # a file has lists
                object.__setattr__(self, name, tuple(given))

    def at(self, layer: int) -> Shape:
        """Return the shape of an encoder whose layers are all like this one (1-based)."""
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
        """Return the shape with only these layers (0-based)."""
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
        """Number of layers that have weights of their own."""
        return self.layer_groups or self.num_layers

    @property
    def up_width(self) -> int:
        """Output width of the first feed-forward map: twice the inner neurons if they are gated."""
        return self.intermediate_size * (2 if self.feed_forward == "gated" else 1)

    @property
    def width_of_head(self) -> int:
        """The width of each head, whether `head_width` gives it or not."""
        return self.head_width or self.hidden_size // self.num_heads

    @property
    def attention_width(self) -> int:
        """The width of all heads together, which is that of a token's query, key and value."""
        return self.num_heads * self.width_of_head

    @property
    def max_length(self) -> int:
        """The longest example, in tokens."""
        return self.max_positions - self.position_offset

    def rules(self) -> Iterator[str]:
        """Yield a line for each conflict between fields that are valid by themselves."""
        width, heads, of_head = self.hidden_size, self.num_heads, self.head_width
        if not of_head and width % heads:
            yield f"num_heads must divide hidden_size={width}, got {heads}"
        elif of_head and width % of_head:
            yield f"head_width must divide hidden_size={width}, got {of_head}"
        elif of_head and heads * of_head > width:
            most = width // of_head
            yield f"num_heads must be in 1..{most} at head_width={of_head}, got {heads}"
        elif self.relative == "rotary" and self.width_of_head % 2:
            got = self.width_of_head
            yield f"a head must have an even width with relative=rotary, got {got}"
        for key, most in (("heads_by_layer", "num_heads"), ("inner_by_layer", "intermediate_size")):
            given, count, top = getattr(self, key), self.num_layers, getattr(self, most)
            if given is not None and len(given) != count:
                yield f"{key} must list a number for each of {count} layers, got {len(given)}"
            elif given is not None and max(given) != top:
                yield f"{key} must have {most}={top} as their most, got {max(given)}"
        if self.layer_groups > self.num_layers:
            yield f"layer_groups must be in 0..{self.num_layers}, got {self.layer_groups}"
        if self.relative == "disentangled" and self.relative_buckets < 2:
            yield "relative_buckets must be 2 or more with relative=disentangled"
        if self.max_positions <= self.position_offset:
            yield f"max_positions must be above position_offset, got {self.max_positions}"


def shape_faults(sizes: Mapping[str, Any]) -> list[str]:
    """Return a line for each fault of the fields of a `Shape`, as a config.json gives them."""
    known, layers = get_type_hints(Shape, include_extras=True), sizes.get("num_layers")
    given = {name: sizes[name] for name in known if name in sizes}
    required = [name for name in known if not hasattr(Shape, name)]  # a default is an attribute
    faults = [f"{name} is missing" for name in required if name not in given]
    beside = Beside(num_layers=layers if is_whole(layers) else None)
    for name, value in given.items():
        faults += value_faults(known[name], name, value, beside)
    return faults or [*Shape(**given).rules()]
