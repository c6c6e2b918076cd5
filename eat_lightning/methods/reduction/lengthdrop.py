"""Length-Adaptive Transformer (Kim and Cho 2021): trained with random lengths, usable at any
length.

LengthDrop: in training, layer l keeps a random number of its n tokens, uniform in ceil((1 - p) n)
... n, namely those that receive most attention (PoWER-BERT's score including the token's own
share). One training therefore serves every length configuration. `search` finds the best ones by
evolution, and `measure budgets=[...]` runs it for each budget on the calibration split. The paper's
LayerDrop and sandwich rule with distillation are part of an objective. Dropped tokens are not
restored, since a classifier does not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeInt
from torch import Tensor, nn

from eat_lightning.methods.reduction._evolution import Found, evolve
from eat_lightning.methods.reduction._topk import RATIO, keep_highest, ratio_at
from eat_lightning.model.contracts import Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.validation import Layers, Points


@method("reduction")
class LengthDrop(Reduction, nn.Module):
    """Keeps the tokens that receive most attention, in training a random number of them.

    Args:
        ratio: share of tokens to drop at each of `layers`, or a list with one for each, as `search`
            finds them; in training, the maximum share p.
        draws: False: training uses `ratio` itself, for objectives that draw configurations.
        iterations: iterations of the search, which first evaluates 20 configurations.
        mutations: new configurations per iteration that are mutated.
        crossovers: new configurations per iteration that are means of two others.
    """

    ratio: Points = 0.2
    layers: Layers = (1, 2, 3, 4, 5)
    draws: bool = True
    iterations: NonNegativeInt = 30
    mutations: NonNegativeInt = 30
    crossovers: NonNegativeInt = 30

    place = "after_attention"
    needs = frozenset({"received"})
    knob = RATIO

    def __post_init__(self) -> None:
        self.training = False  # an encoder in training says so when it takes the method in

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        return evidence.received_N

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        lengths_B = self._kept(packed, ratio_at(layer, self.ratio, self.layers))
        return keep_highest(packed, self.score(packed, evidence), lengths_B)

    def _kept(self, packed: Packed, ratio: float) -> Int[Tensor, " b"]:
        """Tokens that each example keeps, on the host: at least ceil((1 - p) n) and 2. In training
        one draw places all examples of a batch between that and n."""
        lengths_B = packed.layout.lengths_B
        most_B = torch.floor(ratio * packed.strength_B * lengths_B + 1e-9)
        if self.training and self.draws:
            most_B = torch.floor(torch.rand(()).double() * (most_B + 1))
        return torch.maximum(lengths_B - most_B.long(), lengths_B.clamp(max=2))

    def search(
        self, evaluate: Callable[[list[float]], tuple[float, float]], seed: int = 0
    ) -> list[Found]:
        """The best ratios (one for each layer) by evolution, of growing cost and score.

        evaluate: ratios to their cost and their score.
        """
        most = max(self.ratio) if isinstance(self.ratio, Sequence) else self.ratio
        found = evolve(
            lambda shares: evaluate(ratios_of(shares)),
            len(self.layers),
            least=1 - most,
            iterations=self.iterations,
            mutations=self.mutations,
            crossovers=self.crossovers,
            seed=seed,
        )
        return [replace(each, point=ratios_of(each.point)) for each in found]


def ratios_of(shares: Sequence[float]) -> list[float]:
    """Ratios from shares: of what entered a layer, what leaves there."""
    return [round(1 - after / before, 4) for before, after in pairwise((1.0, *shares))]
