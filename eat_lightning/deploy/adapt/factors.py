"""Factors of inputs in int8 for a classifier that is tuned already, from texts without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.data.batching import spread_rows
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.smoothing import factors_of, set_factors
from eat_lightning.weights.factors import FACTORS, load_factors, save_factors

NUM_TEXTS, BATCH = 256, 32  # ranges of channels hardly depend on the texts


def find_factors(encoder: AdaptiveEncoder, split: Any, work: Path) -> None:
    """Give an encoder its factors, or those that an earlier call has kept.

    Args:
        split: texts on which nothing is certified.
        work: a folder for the factors.
    """
    if (work / FACTORS).is_file():
        load_factors(encoder, work)
        return
    rows = spread_rows(len(split), NUM_TEXTS)
    batches = (split.batch(part) for part in np.split(rows, range(BATCH, len(rows), BATCH)))
    set_factors(encoder, factors_of(encoder, batches))
    save_factors(encoder, work)
