"""An encoder of fewer heads, inner neurons or layers, as a plain smaller one (Michel et al. 2019;
DynaBERT, Hou et al. 2020; CoFi, Xia et al. 2022).

Shapes: M kept of heads or inner neurons.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from eat_lightning.bounds import whole_faults
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import build_all, specs_by_slot
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.layer import Shape
from eat_lightning.model.widths import Kept, cut_layer, rows_of


def width_faults(
    encoder: AdaptiveEncoder, heads: int, inner: int, depth: int | None = None
) -> list[str]:
    """Check how many heads and inner neurons each layer shall keep, and how many layers stay."""
    shape, faults = encoder.shape, []
    for key, value, most in (
        ("heads", heads, shape.num_heads),
        ("inner", inner, shape.intermediate_size),
        ("layers", shape.num_layers if depth is None else depth, shape.num_layers),
    ):
        faults += whole_faults(key, value, 1)
        if not whole_faults(key, value, 1) and value > most:
            faults.append(f"{key} must be in 1..{most}, got {value}")
    if shape.layer_groups:
        faults.append("this encoder's layers share their weights, so none can be narrowed alone")
    per_head = encoder.relative is not None and encoder.relative.per_head
    if per_head and heads != shape.num_heads:
        faults.append(
            f"heads must be {shape.num_heads}, got {heads}: this encoder's layers share a "
            "relative-position bias of that many heads"
        )
    named = [*encoder.reduction.layers, *encoder.exit.layers, *encoder.head["layers"][:-1]]
    if depth not in (None, shape.num_layers) and named:
        faults.append(
            f"layers must be {shape.num_layers}, got {depth}: early heads, exit rule or reduction "
            "of this run name layers by number"
        )
    return faults


def narrowed(encoder: AdaptiveEncoder, kept: Kept) -> AdaptiveEncoder:
    """A plain encoder of what is kept, in its order; all else, learned parameters of methods too,
    as it was.

    Raises ConfigError where a method has a weight for each head or layer.
    """
    if encoder.shape.layer_groups:
        raise ConfigError("this encoder's layers share their weights: none can be narrowed alone")
    shape = shape_of(encoder, kept)
    methods = build_all(specs_by_slot(encoder), shape.num_layers)
    head = encoder.head
    if len(kept.layers) < encoder.shape.num_layers:
        head = head | {"layers": []}  # the last, which is at another layer now
    made = AdaptiveEncoder(
        shape, encoder.num_labels, **methods, head=head, policies=encoder.policies
    )
    try:
        made.load_state_dict(cut(encoder, kept))
    except RuntimeError as error:
        said = " ".join(str(error).split())[-200:]
        raise ConfigError(f"heads: a method of this run has a weight for each ({said})") from None
    return made.eval()


def shape_of(encoder: AdaptiveEncoder, kept: Kept) -> Shape:
    """The sizes of what is kept; by layer where layers differ."""
    heads, inner = [len(h) for h in kept.heads], [len(f) for f in kept.inner]
    return replace(
        encoder.shape.of_layers(kept.layers),
        num_heads=max(heads),
        head_width=encoder.shape.width_of_head,
        intermediate_size=max(inner),
        heads_by_layer=tuple(heads) if len({*heads}) > 1 else None,
        inner_by_layer=tuple(inner) if len({*inner}) > 1 else None,
    )


def cut(encoder: AdaptiveEncoder, kept: Kept) -> dict[str, Tensor]:
    """All weights of the encoder that is left, under its names."""
    weights = encoder.state_dict()
    own = {name: w for name, w in weights.items() if not name.startswith(("layers.", "heads."))}
    old, new = encoder.shape.num_layers, len(kept.layers)
    for name, weight in weights.items():
        if name.startswith("heads."):
            layer, _, rest = name.removeprefix("heads.").partition(".")
            own[f"heads.{new if int(layer) == old else layer}.{rest}"] = weight
    parts = zip(kept.layers, kept.heads, kept.inner, strict=True)
    for i, (layer, heads_M, inner_M) in enumerate(parts):
        home = f"layers.{layer}."
        body = {n.removeprefix(home): w for n, w in weights.items() if n.startswith(home)}
        body |= cut_layer(body, rows_of(heads_M, encoder.shape.width_of_head), inner_M)
        own |= {f"layers.{i}.{name}": weight for name, weight in body.items()}
    return own
