"""The same weights in transformers' own model, as the baseline for latency.

Shapes: B examples, L longest length, D width, C classes.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.bundle.padded import padded_inputs
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import in_int8, is_int8, out_of_int8
from eat_lightning.model.packed import Batch
from eat_lightning.weights.hf_folder import empty_backbone, weights_for


class HuggingFaceTwin(nn.Module):
    """The backbone as transformers' own model (sdpa, eager mode) with the last exit head."""

    def __init__(self, encoder: AdaptiveEncoder):
        super().__init__()
        whole = is_int8(encoder)
        encoder = out_of_int8(encoder) if whole else encoder
        self.backbone = empty_backbone(encoder.shape)
        # Not strict, since transformers' position_ids are in no state dict of ours.
        missing = self.backbone.load_state_dict(weights_for(self.backbone, encoder), strict=False)
        assert not missing.missing_keys, missing.missing_keys
        weight = encoder.embedding.word.weight
        self.backbone.to(weight.device, weight.dtype).eval()
        self.backbone = in_int8(self.backbone) if whole else self.backbone
        self.pad_token_id = encoder.shape.pad_token_id
        self.typed = encoder.embedding.token_type is not None
        self.head: Any = encoder.heads[str(encoder.shape.num_layers)]

    def ready(self, batch: Batch) -> dict[str, Tensor]:
        return padded_inputs(batch, self.pad_token_id, self.typed)

    def forward(self, padded: dict[str, Tensor]) -> Float[Tensor, "b c"]:
        device = self.head.classes.weight.device
        given = {name: column.to(device) for name, column in padded.items()}
        x_BLD = self.backbone(**given).last_hidden_state
        pooled_BD = x_BLD[:, 0]
        if self.head.pool == "mean":
            real_BL1 = given["attention_mask"][..., None].to(x_BLD.dtype)
            pooled_BD = (x_BLD * real_BL1).sum(1) / real_BL1.sum(1)
        if self.head.dense is not None:
            pooled_BD = self.head.act(self.head.dense(pooled_BD))
        return self.head.classes(pooled_BD) / self.head.temperature
