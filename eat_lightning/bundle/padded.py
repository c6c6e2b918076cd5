"""Convert packed batches to padded inputs, as a tokenizer returns them, for other models."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from eat_lightning.model.packed import Batch


def padded_inputs(
    batch: Batch, pad_token_id: int, typed: bool, side: str = "right"
) -> dict[str, Tensor]:
    """Return ids and a mask (B x L), and types if `typed`."""

    def block(values_N: Tensor, padding: int = 0) -> Tensor:
        parts = [*values_N.split(batch.lengths_B.tolist())]
        return pad_sequence(parts, True, padding, side)

    ids_BL = block(batch.ids_N, pad_token_id)
    given = {"input_ids": ids_BL, "attention_mask": block(torch.ones_like(batch.ids_N))}
    return given | ({"token_type_ids": block(batch.types_N)} if typed else {})
