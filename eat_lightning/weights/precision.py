"""Weights at inference: their dtype, and their layout (plain, or prepacked for oneDNN).

A command's `prepack` selects the layout. null: as in the certificate in use; without one, prepacked
wherever possible. true: prepacked, or an error. false: plain.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eat_lightning.model.encoder import AdaptiveEncoder

PLAIN, PREPACKED = "plain", "prepacked"
FORMS = (PLAIN, PREPACKED)
DTYPES = {"fp32": "fp32", "bf16": "bf16 weights", "int8": "int8 products"}


def form_of(
    prepack: bool | None, dtype: str, device: str = "cpu", certified: str | None = None
) -> str:
    """Return the layout for a command's weights.

    Args:
        certified: layout of its certificate, if any.
    """
    from eat_lightning.weights.prepacked import cannot_in

    if cannot_in(dtype, device):
        return PLAIN
    if prepack is None:
        return certified or PREPACKED
    return PREPACKED if prepack else PLAIN


def prepack_faults(prepack: bool | None, dtype: str, device: str = "cpu") -> list[str]:
    """List errors in a command's `prepack`, given its `dtype` and `device`."""
    if not prepack:
        return []
    from eat_lightning.weights.prepacked import cannot_in

    reason = cannot_in(dtype, device)
    return [f"prepack=true: {reason}"] if reason else []


def device_faults(device: str, dtype: str) -> list[str]:
    import torch

    if device != "cuda":
        return []
    absent = [] if torch.cuda.is_available() else ["there is none that torch can use here"]
    # There torch._int_mm takes more than 16 rows, and one example may have fewer.
    unfit = ["dtype=int8 is for a processor, use bf16"] if dtype == "int8" else []
    return [f"device=cuda: {why}" for why in absent + unfit]


def in_dtype(encoder: AdaptiveEncoder, dtype: str) -> AdaptiveEncoder:
    """Return a copy with bf16 weights or int8 products, or the encoder itself for fp32.

    Autocast would convert every weight for every example. Strength and temperatures are unchanged.
    """
    import torch

    from eat_lightning.model.int8 import in_int8

    if dtype == "fp32":
        return encoder
    if dtype == "int8":
        return in_int8(encoder)
    converted = copy.deepcopy(encoder)
    for weight in converted.parameters():
        weight.data = weight.data.to(torch.bfloat16)
    return converted


def in_form(encoder: AdaptiveEncoder, form: str) -> AdaptiveEncoder:
    """Return the encoder itself, or a prepacked copy. Plain matrices are freed with the last
    reference to their encoder.
    """
    from eat_lightning.weights.prepacked import prepacked

    return prepacked(encoder) if form == PREPACKED else encoder
