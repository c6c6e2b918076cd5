"""Factors of inputs in int8 (`model/smoothing.py`), stored beside the weights that they belong to.

The weights themselves stay as they are, so that transformers opens them as before.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from eat_lightning.errors import reading
from eat_lightning.files import replacing
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.smoothing import factors_in, set_factors
from eat_lightning.weights.files import FACTORS as FACTORS


def save_factors(encoder: AdaptiveEncoder, folder: Path) -> None:
    """Write the factors of an encoder; where it has none, a file of earlier ones goes."""
    factors = {name: factor_K.float() for name, factor_K in factors_in(encoder).items()}
    if not factors:
        (folder / FACTORS).unlink(missing_ok=True)
        return
    with replacing(folder / FACTORS) as beside:
        save_file(factors, beside)


def load_factors(encoder: AdaptiveEncoder, folder: Path) -> None:
    """Give an encoder the factors of a folder, if it has some.

    Raises:
        ConfigError: where they do not fit.
    """
    path = folder / FACTORS
    if path.is_file():
        with reading(path, SafetensorError, RuntimeError):
            set_factors(encoder, load_file(path))
