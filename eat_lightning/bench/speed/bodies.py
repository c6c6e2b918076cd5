"""Bodies that people pick today, at their released sizes, for a race of random weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from eat_lightning.bench.speed.candidates import Field, Preset, of_run, random_encoder
from eat_lightning.bench.speed.released import RELEASED
from eat_lightning.bench.speed.workload import Workload, words
from eat_lightning.model.encoder import with_slots
from eat_lightning.model.layer import Shape
from eat_lightning.weights.families import FAMILIES

UNPADDED = "HF unpadded: no rows, transformers packs rows for flash attention alone (CUDA)"
SINGLES = 2  # texts of `long` tokens


def shape_of(body: str) -> Shape:
    family = FAMILIES[RELEASED[body]["model_type"]]
    return Shape(**family.shape_of(RELEASED[body], family.sep_token_id))


def of_body(shape: Shape, ratio: float, dtype: str, seed: int) -> Field:
    """Hugging Face's model of the same random weights, padded; ours with everything off; and EAT,
    which prunes and where the easy leave after two thirds of the layers. Ours prepacked, too."""
    prunes = random_encoder(shape, ratio, seed)
    leaves = with_slots(prunes, exit=Preset(next(iter(prunes.exit.layers))))
    found = of_run(leaves, [dtype])
    found.over = {"HF": f"HF {dtype}", "static": f"static {dtype}"}
    found.missing.append(UNPADDED)
    return found


def long_texts(shape: Shape, length: int) -> Iterator[Workload]:
    """Single texts of so many tokens, every second one easy; none where the body takes none."""
    if length > shape.max_length:
        print(f"{length:,} tokens: left out, this body takes {shape.max_length:,}", flush=True)
        return
    easy = torch.arange(SINGLES) % 2 == 0
    made = [words(np.array([length]), easy[i : i + 1].numpy(), shape.vocab_size) for i in range(2)]
    yield Workload("random words", 1, f"{length:,} tokens", made)
