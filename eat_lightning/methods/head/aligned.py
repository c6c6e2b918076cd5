"""Alignment of two texts at an exit: decomposable attention (Parikh et al. 2016) and the pooling of
ESIM (Chen et al. 2017), without parameters before pooling.

Each token x of one text is aligned with the other: y is the mean of the other text's tokens,
weighted by exp(10 cos), with cosines relative to the centre of the example. A head reads the
features of `head=pair`; the mean of |x - y| in each text and, unless `largest` is off, its maximum;
the mean of x weighted by the novelty of each token (1 minus the cosine to the nearest one); and the
mean and the minimum of these cosines. A dense layer, activation, dropout and classes follow.

In a graph of single examples the number of operations decides what a guess costs, more than their
arithmetic. Hence masks are added rather than filled in, so that exits share them, and `pooled` does
not go by way of `vector`.

Shapes: B examples, T = 2 texts, L longest length, D width, X = 3 D + 2 (2 D + 2 without the largest
distances), V = T x (D + X).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import PositiveInt
from torch import Tensor

from eat_lightning.methods.head.pair import Pair
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape

SHARPNESS = 10.0  # of the weights, by which a cosine is multiplied
LEAST = 1e-3  # length that a token's distance from the middle is divided by: less is rounding
FAR = -1e4  # added to the score of a token of the same text, whose weight is 0 then
TINY = 1e-30  # the least sum of weights that is divided by
FLOOR = 0.1  # of how new a token is: far above what bf16 rounds of a cosine near 1


@method("head")
class Aligned(Pair):
    """Classifier of two texts, from their pooled vectors and the match of their tokens.

    For tasks with one text, it equals `head=pair` of the encoder's width.

    Args:
        largest: reads the largest |x - y| of each text, which takes a graph seven operations.
    """

    largest: bool = True
    narrowing: PositiveInt = 4

    @property
    def _narrows(self) -> int:
        return self.narrowing if self.texts == 2 else 1

    def _num_features(self, shape: Shape) -> int:
        more = self.vector_width(shape) - super().vector_width(shape)
        return super()._num_features(shape) + more

    def vector_width(self, shape: Shape) -> int:
        if self.texts == 1:
            return super().vector_width(shape)
        return self.texts * ((4 if self.largest else 3) * shape.hidden_size + 2)

    def vector(self, packed: Packed) -> Float[Tensor, "b v"]:
        """Give of each text its mean, mean and largest distance, mean of what is new, and mean and
        least cosine. All but the first are zeros where no token of the other text is left."""
        if self.texts == 1:
            return super().vector(packed)
        return torch.cat(self._matched(packed), -1).flatten(1)

    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]:
        if self.texts == 1:
            return super().pooled(packed)
        return self.of_features(self._features(*self._matched(packed)))

    def _matched(self, packed: Packed) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t x"]]:
        """Give the mean of each text, and the rest of its part of the vector."""
        with torch.autocast(packed.x_ND.device.type, enabled=False):  # cosines in bf16 are coarse
            x_BLD, text_BL, size_BL = padded(packed)
            texts_T1 = torch.arange(1, self.texts + 1, device=text_BL.device)[:, None]
            weight_BTL = (text_BL[:, None] == texts_T1).to(x_BLD.dtype)
            if size_BL is not None:
                weight_BTL = weight_BTL * size_BL[:, None]
            share_BTL = shares(weight_BTL)
            middle_B1D = share_BTL.mean(1, keepdim=True) @ x_BLD
            gap_BLD, nearest_BL1 = laid_beside(x_BLD, x_BLD - middle_B1D, text_BL, size_BL)
            new_BTL = shares(weight_BTL * (1 + FLOOR - nearest_BL1.transpose(1, 2)))
            inside_BTL = weight_BTL > 0
            about = [share_BTL @ gap_BLD]
            if self.largest:
                about.append(
                    torch.stack([largest(gap_BLD, one) for one in inside_BTL.unbind(1)], 1)
                )
            about += [new_BTL @ x_BLD, share_BTL @ nearest_BL1, least(nearest_BL1, inside_BTL)]
            met_BT1 = inside_BTL.any(-1, keepdim=True).all(1, keepdim=True)
            mean_BTD, more_BTX = share_BTL @ x_BLD, torch.cat(about, -1) * met_BT1
        return mean_BTD.to(packed.x_ND.dtype), more_BTX.to(packed.x_ND.dtype)

    def look_at(self, vector_BV: Float[Tensor, "b v"]) -> None:
        mean_BTD = vector_BV.unflatten(1, (self.texts, -1))[..., : len(self.centre)]
        super().look_at(mean_BTD.flatten(1))

    def features(self, vector_BV: Float[Tensor, "b v"]) -> Float[Tensor, "b w"]:
        if self.texts == 1:
            return super().features(vector_BV)
        vector_BTX, width = vector_BV.unflatten(1, (self.texts, -1)), len(self.centre)
        return self._features(vector_BTX[..., :width], vector_BTX[..., width:])

    def _features(
        self, mean_BTD: Float[Tensor, "b t d"], more_BTX: Float[Tensor, "b t x"]
    ) -> Float[Tensor, "b w"]:
        compared_BW = self._compared(mean_BTD).to(mean_BTD.dtype)
        return torch.cat([compared_BW, more_BTX.flatten(1)], -1)

    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> np.ndarray | float:
        """Cost of one guess: products of all tokens with all, means, the classifier."""
        classifier = super().flops(shape, num_labels, tokens_B)
        if self.texts == 1:
            return classifier
        width = shape.hidden_size
        products_B = 4.0 * width * tokens_B**2
        pooled_B = 2.0 * tokens_B * ((3 * self.texts + 1) * width + self.texts)
        return products_B + pooled_B + classifier


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
    return weight_BTL / weight_BTL.sum(-1, keepdim=True).clamp(min=TINY)


def largest(
    gap_BLD: Float[Tensor, "b l d"], inside_BL: Bool[Tensor, "b l"]
) -> Float[Tensor, "b d"]:
    """Give the largest distance in each channel of the tokens of a text."""
    return (gap_BLD * inside_BL[..., None]).amax(1)


def least(
    nearest_BL1: Float[Tensor, "b l 1"], inside_BTL: Bool[Tensor, "b t l"]
) -> Float[Tensor, "b t 1"]:
    """Give the least cosine of each text; that of a text without tokens means nothing."""
    beyond_BTL = (~inside_BTL).to(nearest_BL1.dtype) * 3  # no cosine differs by more than 2
    return (nearest_BL1.transpose(1, 2) + beyond_BTL).amin(-1, keepdim=True)


def laid_beside(
    x_BLD: Float[Tensor, "b l d"],
    from_middle_BLD: Float[Tensor, "b l d"],
    text_BL: Int[Tensor, "b l"],
    size_BL: Float[Tensor, "b l"] | None,
) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b l 1"]]:
    """Give the distance of each token to its likeness in the other text, and the cosine to its
    nearest there; neither means anything where there is no other."""
    length_BL1 = torch.linalg.vector_norm(from_middle_BLD, dim=-1, keepdim=True)
    direction_BLD = from_middle_BLD / length_BL1.clamp(min=LEAST)
    other_BLL = text_BL[:, :, None] + text_BL[:, None, :] == 3  # 1 and 2: no other sum is 3
    # Added and not filled in, since exits of a graph share it: only texts decide it.
    far_BLL = (~other_BLL).to(x_BLD.dtype) * FAR
    score_BLL = SHARPNESS * (direction_BLD @ direction_BLD.transpose(1, 2)) + far_BLL
    nearest_BL1 = score_BLL.amax(-1, keepdim=True) / SHARPNESS
    if size_BL is not None:
        score_BLL = score_BLL + size_BL.clamp(min=1e-20).log()[:, None]
    gap_BLD = torch.baddbmm(x_BLD, score_BLL.softmax(-1), x_BLD, alpha=-1).abs()
    return gap_BLD, nearest_BL1.clamp(-1, 1)  # which rounding may pass
