"""BERT's classifier (Devlin et al. 2019) at an exit: pool, dense, activation, dropout, classes; or
ModernBERT's (Warner et al. 2024), with a norm behind the activation."""

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
    """Classifier of one pooled vector: dense layer, activation, dropout, classes.

    Args:
        pool: "cls" or "mean" (each vector weighed by the tokens it stands for).
        activation: of the dense layer; None: there is no dense layer.
        norm: a LayerNorm behind the activation. Dense layer and norm have biases where the
            encoder's have.
    """

    pool: Pool = "cls"
    activation: Activation | None = "tanh"
    norm: bool = False

    def vector_width(self, shape: Shape) -> int:
        return shape.hidden_size

    def vector(self, packed: Packed) -> Float[Tensor, "b d"]:
        return POOLS[self.pool](packed)
