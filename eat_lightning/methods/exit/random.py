"""Exit at random: a baseline for rules that look at predictions. The draw for an example depends
only on its token ids, so neither its batch nor a second run changes it."""

from __future__ import annotations

from pydantic import NonNegativeInt
from torch import Tensor

from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guess, Guesses, Observed, Pooled, Signal
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed, mixed
from eat_lightning.validation import Points, Share

BITS = 24  # of a draw, all of which fp32 holds


@method("exit")
class Random(ByPoint):
    """Exits by chance, always the same for the same token ids.

    Args:
        rate: probability that an example leaves at an exit that it reaches, or a list with one for
            each of `layers`.
        seed: seed of the draw.
    """

    rate: Points = 0.3
    layers: ExitLayers = (4,)
    seed: NonNegativeInt = 0

    reasons = ("random",)
    wants = frozenset({"example"})
    knob = Knob(
        "rate",
        strict=0.0,
        grid=(0.1, 0.2, 0.3, 0.5, 0.7, 0.9),
        fine=tuple(round(0.01 * k, 2) for k in range(1, 101)),
        bounds=Share,
    )

    def observe(self, packed: Packed, pooled_BD: Pooled, logits_BC: Guess, layer: int) -> Signal:
        """This exit's draw, uniform in [0, 1)."""
        example_B = packed.notes["example"].index_select(0, packed.layout.offsets_B)
        drawn_B = mixed(mixed(example_B + self.seed) + layer)
        return ((drawn_B & (2**BITS - 1)).float() / 2**BITS)[:, None]

    def _value(self, logits_EBC: Guesses, signals_EBS: Observed) -> Tensor:
        return signals_EBS[-1, :, 0]
