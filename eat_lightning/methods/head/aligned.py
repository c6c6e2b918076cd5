"""Alignment of two texts at an exit: decomposable attention (Parikh et al. 2016) and the pooling of
ESIM (Chen et al. 2017), without parameters before pooling.

Each token x of one text is aligned with the other: y is the mean of the other text's tokens,
weighted by exp(10 cos), with cosines relative to the centre of the example. A head reads the
features of `head=pair`; the mean and the largest |x - y| of each text; its mean weighted by the
novelty of each token (1 minus the cosine to the nearest one); and the mean and the minimum of these
cosines. A dense layer, activation, dropout and classes follow.

Shapes: B examples, T = 2 texts, L longest length, D width, V = T x (4 D + 2), W = T x (5 D + 2).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.methods.head.pair import Pair
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape

SHARPNESS = 10.0  # of the weights, by which a cosine is multiplied
LEAST = 1e-3  # length that a token's distance from the middle is divided by: less is rounding
FAR = -1e3  # in place of a cosine within a text: its weight is 0, in fp16 too
FLOOR = 0.1  # of how new a token is: far above what bf16 rounds of a cosine near 1


@method("head")
class Aligned(Pair):
    """Classifier of two texts, from their pooled vectors and the match of their tokens.

    Its dense layer is a quarter as wide as the encoder. For tasks with one text, it equals
    `head=pair`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.changes_width = self.changes_width or self.texts == 2

    def _dense_width(self, shape: Shape) -> int:
        return super()._dense_width(shape) // (4 if self.texts == 2 else 1)

    def _num_features(self, shape: Shape) -> int:
        more = self.vector_width(shape) - super().vector_width(shape)
        return super()._num_features(shape) + more

    def vector_width(self, shape: Shape) -> int:
        return self.texts * (4 * shape.hidden_size + 2 if self.texts == 2 else shape.hidden_size)

    def vector(self, packed: Packed) -> Float[Tensor, "b v"]:
        """Give of each text its mean, mean and largest distance, mean of what is new, and mean and
        least cosine. All but the first are zeros where no token of the other text is left."""
        if self.texts == 1:
            return super().vector(packed)
        with torch.autocast(packed.x_ND.device.type, enabled=False):  # cosines in bf16 are coarse
            return self._matched(packed).flatten(1).to(packed.x_ND.dtype)

    def _matched(self, packed: Packed) -> Float[Tensor, "b t p"]:
        x_BLD, text_BL, size_BL = padded(packed)
        texts_T1 = torch.arange(1, self.texts + 1, device=text_BL.device)[:, None]
        weight_BTL = (text_BL[:, None] == texts_T1).to(x_BLD.dtype)
        if size_BL is not None:
            weight_BTL = weight_BTL * size_BL[:, None]
        share_BTL = shares(weight_BTL)
        mean_BTD = share_BTL @ x_BLD
        from_middle_BLD = x_BLD - mean_BTD.mean(1, keepdim=True)
        gap_BLD, nearest_BL = laid_beside(x_BLD, from_middle_BLD, text_BL, size_BL)
        inside_BTL = weight_BTL > 0
        met_BT1 = inside_BTL.any(-1, keepdim=True).all(1, keepdim=True)
        new_BTL = shares(weight_BTL * (1 + FLOOR - nearest_BL[:, None]))
        largest = [(gap_BLD * inside_BL[..., None]).amax(1) for inside_BL in inside_BTL.unbind(1)]
        nearest_BT1 = (share_BTL * nearest_BL[:, None]).sum(-1, keepdim=True)
        least_BT1 = nearest_BL[:, None].masked_fill(~inside_BTL, 1.0).amin(-1, keepdim=True)
        about = [share_BTL @ gap_BLD, torch.stack(largest, 1), new_BTL @ x_BLD]
        about += [nearest_BT1, least_BT1]
        return torch.cat([mean_BTD, torch.cat(about, -1) * met_BT1], -1)

    def look_at(self, vector_BV: Float[Tensor, "b v"]) -> None:
        super().look_at(self._means(vector_BV))

    def features(self, vector_BV: Float[Tensor, "b v"]) -> Float[Tensor, "b w"]:
        features_BW = super().features(self._means(vector_BV))
        if self.texts == 1:
            return features_BW
        more_BTX = vector_BV.unflatten(1, (self.texts, -1))[..., len(self.centre) :]
        return torch.cat([features_BW, more_BTX.flatten(1)], -1)

    def _means(self, vector_BV: Float[Tensor, "b v"]) -> Float[Tensor, "b m"]:
        return vector_BV.unflatten(1, (self.texts, -1))[..., : len(self.centre)].flatten(1)

    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> np.ndarray | float:
        """Cost of one guess: products of all tokens with all, means, the classifier."""
        classifier = super().flops(shape, num_labels, tokens_B)
        if self.texts == 1:
            return classifier
        width = shape.hidden_size
        products_B = 4.0 * width * tokens_B**2
        return products_B + 2.0 * self.texts * tokens_B * 3 * width + classifier


def padded(
    packed: Packed,
) -> tuple[Float[Tensor, "b l d"], Int[Tensor, "b l"], Float[Tensor, "b l"] | None]:
    """Give vectors, number of the text (0: none) and tokens stood for, if any were merged or are
    gated: one row an example."""
    layout = packed.layout
    text_BL = layout.pad(packed.notes["text"])
    if not layout.even:
        text_BL = text_BL * layout.real_BL
    x_BLD = layout.pad(packed.x_ND.float())
    if packed.size_N is None:
        return x_BLD, text_BL, None
    size_BL = layout.pad(packed.size_N.float())
    return x_BLD, text_BL * (size_BL > 0), size_BL  # a soft gate of 0 is a token less


def shares(weight_BTL: Float[Tensor, "b t l"]) -> Float[Tensor, "b t l"]:
    """Give the share of each token in its text; zeros in a text without any."""
    total_BT1 = weight_BTL.sum(-1, keepdim=True)
    return weight_BTL / torch.where(total_BT1 > 0, total_BT1, 1)


def laid_beside(
    x_BLD: Float[Tensor, "b l d"],
    from_middle_BLD: Float[Tensor, "b l d"],
    text_BL: Int[Tensor, "b l"],
    size_BL: Float[Tensor, "b l"] | None,
) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b l"]]:
    """Give the distance of each token to its likeness in the other text, and the cosine to its
    nearest there; neither means anything where there is no other."""
    product_BLL = from_middle_BLD @ from_middle_BLD.transpose(1, 2)
    squared_BL = from_middle_BLD.square().sum(-1)  # a graph takes 15 nodes for a diagonal
    over_BL = squared_BL.clamp(min=LEAST**2).rsqrt()
    other_BLL = text_BL[:, :, None] + text_BL[:, None, :] == 3  # 1 and 2: no other sum is 3
    cosine_BLL = (product_BLL * over_BL[:, :, None] * over_BL[:, None]).masked_fill(~other_BLL, FAR)
    score_BLL = SHARPNESS * cosine_BLL
    if size_BL is not None:
        score_BLL = score_BLL + size_BL.clamp(min=1e-20).log()[:, None]
    gap_BLD = torch.baddbmm(x_BLD, score_BLL.softmax(-1), x_BLD, alpha=-1).abs()
    return gap_BLD, cosine_BLL.amax(-1).clamp(-1, 1)  # which rounding may pass
