"""When it pays to take an example that has left out of its batch: moving the rows of the others and
laying them out anew, against a layer that runs with one example more.

    python experiments/scaling/compaction.py

MiniLM's size, random weights, one thread; milliseconds of one layer, which is the least that can be
saved: medians of three repeats by turns, each of 20 passes.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from pandas import DataFrame

from eat_lightning.infer.latency import time_interleaved, undisturbed
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from experiments.bench.tables import markdown
from experiments.scaling.fit import spread
from experiments.scaling.points import body, text

TOKENS = (3, 8, 25)  # of each example: [CLS], a word and [SEP]; a phrase; a sentence of SST-2
BATCHES = (2, 8, 16, 32, 64)
MINILM = Shape(
    hidden_size=384, num_heads=12, intermediate_size=1536, num_layers=6, vocab_size=30522
)


def ride(encoder: AdaptiveEncoder, packed: Packed) -> None:
    """All examples run the layer."""
    encoder.run_layer(packed, encoder.shape.num_layers)


def compact(encoder: AdaptiveEncoder, packed: Packed) -> None:
    """One is taken out before it."""
    encoder.run_layer(packed.only(torch.arange(packed.layout.size) > 0), encoder.shape.num_layers)


def compaction(
    encoder: AdaptiveEncoder, repeats: int = 3, passes: int = 20, batches: Any = BATCHES
) -> DataFrame:
    settings: dict[Any, Any] = {}
    with undisturbed(1):
        for batch in batches:
            for tokens in TOKENS:
                packed = encoder.embed(text([tokens] * batch, encoder.shape.vocab_size))
                for how in (ride, compact):
                    settings[batch, tokens, how] = partial(how, encoder), [packed] * passes
        took = time_interleaved(settings, repeats, passes)
    lines = []
    for batch, tokens, _ in list(settings)[::2]:
        ride_R, compact_R = (took[batch, tokens, how].mean(1) for how in (ride, compact))
        lines.append(
            {
                "examples": batch,
                "tokens of each": tokens,
                "it rides along, ms": f"{np.median(ride_R):.3f}",
                "it is taken out, ms": f"{np.median(compact_R):.3f}",
                "ratio": spread(ride_R / compact_R),
            }
        )
    return DataFrame(lines)


if __name__ == "__main__":
    print(markdown(compaction(body(MINILM, seed=0))))
