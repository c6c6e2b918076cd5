"""BERT's classifier (Devlin et al. 2019) at an exit: pool, dense, activation, dropout, classes; or
ModernBERT's (Warner et al. 2024), with a norm after the activation."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.head._vectors import VectorClassifier
from eat_lightning.model.heads import POOLS, Pool
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Activation, Shape


@method("head")
class Pooled(VectorClassifier):
    """Classifier of a pooled vector: dense layer, activation, dropout, classes.

    Args:
        pool: "cls" or "mean" (each vector weighted by the number of tokens it represents).
        activation: activation of the dense layer. None: no dense layer.
        norm: a LayerNorm after the activation. Dense layer and norm have biases if those of the
            encoder do.
    """

    pool: Pool = "cls"
    activation: Activation | None = "tanh"
    norm: bool = False

    def vector_width(self, shape: Shape) -> int:
        return shape.hidden_size

    def vector(self, packed: Packed) -> Float[Tensor, "b d"]:
        return POOLS[self.pool](packed)
