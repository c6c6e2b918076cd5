"""Factors of inputs in int8 for a classifier that is tuned already, from texts without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eat_lightning.data.batching import spread_batches
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
    learn_factors(encoder, split)
    save_factors(encoder, work)


def learn_factors(encoder: AdaptiveEncoder, split: Any) -> None:
    """Give an encoder the factors that some of the texts lead to."""
    set_factors(encoder, factors_of(encoder, spread_batches(split, NUM_TEXTS, BATCH)))
