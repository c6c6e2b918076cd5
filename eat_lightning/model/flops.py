"""Floating-point operations (2 x MAC) of each example, from the tokens and layers that it ran.

Matrix products only are counted, as torch's FlopCounterMode does: embeddings are look-ups, and
norms, activations, softmax and sorting are left out. Counts are those of batch 1, so nothing is
padded; in a larger batch only the attention product is.

Shapes: B examples, L layers (of `per_row_LB` and `left_LB`: the embedding too).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from eat_lightning.model.banded import PAYS, near_pairs
from eat_lightning.model.contracts import ExitRule, Reduction, only_open
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.evidence import MATRIX
from eat_lightning.model.shape import Shape


def flops(
    encoder: AdaptiveEncoder,
    exit: ExitRule,
    tokens_LB: np.ndarray,
    depth_B: np.ndarray,
    lengths_B: np.ndarray | None = None,
) -> np.ndarray:
    """Return the FLOPs of each example under an exit rule. Methods count their own part, such as
    predictors or matching, in their `flops`.

    Args:
        exit: the rule, whose heads are the ones evaluated.
        tokens_LB: tokens entering each layer when no example leaves early.
        depth_B: layers run under `exit`; 0 for an example that left at the embedding.
        lengths_B: tokens of each example before any reduction; None if none acts on the embedding.
    """
    shape, reduction = encoder.shape, encoder.reduction
    after_LB = tokens_LB  # those that reach each layer's feed-forward
    if reduction.place == "after_attention":  # what it leaves at the last layer is not recorded
        after_LB = np.concatenate([tokens_LB[1:], tokens_LB[-1:]])
    before_LB = np.concatenate([tokens_LB[:1] if lengths_B is None else [lengths_B], tokens_LB])
    products_LB = product_flops(encoder, tokens_LB) + distance_flops(encoder, before_LB)
    per_layer_LB = layer_flops(shape, tokens_LB, after_LB, products_LB)
    per_layer_LB += reduction_flops(shape, reduction, before_LB)
    per_row_LB = np.concatenate([[embedding_flops(shape, before_LB[0])], per_layer_LB])
    left_LB = np.concatenate([before_LB[:1], after_LB])
    for layer in encoder.heads.guessing(only_open(exit, encoder.policies)):
        guessing = head_flops(encoder, layer, left_LB[layer])
        per_row_LB[layer] += guessing + exit.flops(shape, encoder.num_labels)
    ran_LB = np.arange(shape.num_layers + 1)[:, None] <= depth_B
    return (per_row_LB * ran_LB).sum(0)


def static_flops(encoder: AdaptiveEncoder, lengths_B: np.ndarray) -> np.ndarray:
    """Return the FLOPs of each example in the same backbone without methods: dense attention, every
    token, every layer."""
    shape = encoder.shape
    tokens_LB = np.repeat(np.asarray(lengths_B)[None], shape.num_layers, axis=0)
    products_LB = dense_flops(shape, tokens_LB)
    for layer in shape.local_layers:  # these windows are the backbone's and no pattern's
        products_LB[layer - 1] = local_flops(shape.at(layer), tokens_LB[layer - 1])
    products_LB = products_LB + distance_flops(encoder, np.stack([lengths_B, *tokens_LB]))
    work_B = layer_flops(shape, tokens_LB, tokens_LB, products_LB).sum(0)
    work_B = work_B + embedding_flops(shape, lengths_B)
    return work_B + head_flops(encoder, shape.num_layers, tokens_LB[-1])


def layer_flops(
    shape: Shape, tokens_LB: np.ndarray, after_LB: np.ndarray, products_LB: np.ndarray
) -> np.ndarray:
    """Return the FLOPs of each layer and example without methods' own work.

    Args:
        tokens_LB: tokens that enter, on which the four projections of attention run.
        after_LB: tokens that a reduction within the layer left, on which the feed-forward runs.
        products_LB: FLOPs of the attention products.
    """
    width, layers = shape.hidden_size, [shape.at(k + 1) for k in range(shape.num_layers)]
    heads_L1 = np.array([[layer.attention_width] for layer in layers])
    inner_L1 = np.array([[layer.intermediate_size + layer.up_width] for layer in layers])
    projections_LB = 4 * tokens_LB * width * heads_L1
    return products_LB + 2.0 * (projections_LB + after_LB * width * inner_L1)


def reduction_flops(shape: Shape, reduction: Reduction, before_LB: np.ndarray) -> np.ndarray:
    """Return the FLOPs of a reduction's evidence and choice, for each layer and example.

    Args:
        before_LB: the tokens of each example, then those that enter each layer.
    """
    tokens_LB, within = before_LB[1:], reduction.place == "after_attention"
    spent_LB = np.zeros(tokens_LB.shape)
    for layer in reduction.layers:
        if layer > 0:
            entering_B = tokens_LB[layer - 1]
            spent_LB[layer - 1] += evidence_flops(shape.at(layer), entering_B, reduction.needs)
        # After a layer only remaining examples are reduced, so the work counts with the next layer.
        row = layer - 1 if within else layer
        if row < shape.num_layers:
            spent_LB[row] += reduction.flops(shape, layer, before_LB[layer])
    return spent_LB


def distance_flops(encoder: AdaptiveEncoder, before_LB: np.ndarray) -> np.ndarray:
    """Return the FLOPs of the backbone's part for relative positions, in each layer.

    Args:
        before_LB: the tokens of each example, then those that enter each layer.
    """
    lengths_B, tokens_LB, part = before_LB[0], before_LB[1:], encoder.relative
    if part is None:
        return np.zeros(tokens_LB.shape)
    shapes = [encoder.shape.at(k + 1) for k in range(len(tokens_LB))]
    pairs = zip(shapes, tokens_LB, strict=True)
    return np.stack([part.flops(shape, tokens_B, lengths_B) for shape, tokens_B in pairs])


def embedding_flops(shape: Shape, lengths_B: np.ndarray) -> np.ndarray:
    """Return the FLOPs of a factorised embedding's projection; the rest are look-ups."""
    return 2.0 * shape.embedding_size * shape.hidden_size * np.asarray(lengths_B, np.float64)


def pairs(tokens_LB: np.ndarray) -> np.ndarray:
    """Count all query-key pairs; a masked one costs as much as any other."""
    return tokens_LB.astype(np.float64) ** 2


def dense_flops(shape: Shape, tokens_LB: np.ndarray) -> np.ndarray:
    """Return the FLOPs of both products of softmax attention, over all pairs."""
    widths_L = [shape.at(k + 1).attention_width for k in range(shape.num_layers)]
    return 4.0 * np.array(widths_L)[:, None] * pairs(tokens_LB)


def product_flops(encoder: AdaptiveEncoder, tokens_LB: np.ndarray) -> np.ndarray:
    """Return the FLOPs of the attention products, for each layer and example. All pairs count,
    except where a local window or a pattern's faster product is in use."""
    shape, reduction, pattern = encoder.shape, encoder.reduction, encoder.attention
    products_LB = dense_flops(shape, tokens_LB)
    whole = encoder.relative is not None and encoder.relative.adds
    blocked = MATRIX & reduction.needs and not pattern.approximate
    for row, tokens_B in enumerate(tokens_LB):
        layer = shape.at(row + 1)
        if blocked and row + 1 in reduction.layers:
            continue
        if row + 1 in shape.local_layers:
            products_LB[row] = local_flops(layer, tokens_B)
        elif not whole:
            product_B = pattern.flops(layer, row + 1, tokens_B.astype(np.float64))
            products_LB[row] = products_LB[row] if product_B is None else product_B
    return products_LB


def local_flops(shape: Shape, tokens_B: np.ndarray) -> np.ndarray:
    """Return the FLOPs of both products in a layer with the backbone's own window."""
    tokens_B = tokens_B.astype(np.float64)
    half_window = shape.local_window // 2
    band_B = near_pairs(tokens_B, half_window)
    is_cut_B = (tokens_B - 1 > half_window) & (band_B <= PAYS * tokens_B**2)
    return 4.0 * shape.attention_width * np.where(is_cut_B, band_B, tokens_B**2)


def evidence_flops(shape: Shape, tokens_B: np.ndarray, needs: Collection[str]) -> np.ndarray:
    """Return the FLOPs of scores that are computed again for a reduction: all, or [CLS]'s row."""
    all_pairs = pairs(tokens_B) if MATRIX & {*needs} else 0
    cls_row = tokens_B if "cls" in needs else 0
    return np.zeros(tokens_B.shape) + 2.0 * shape.attention_width * (all_pairs + cls_row)


def head_flops(encoder: AdaptiveEncoder, layer: int, tokens_B: np.ndarray) -> np.ndarray | float:
    """Return the FLOPs of one prediction by the head at a layer, for examples of so many tokens."""
    return encoder.heads.at(layer).flops(encoder.shape, encoder.num_labels, tokens_B)
