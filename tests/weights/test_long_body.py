"""A text of 8,192 tokens through a body with local layers has transformers' vectors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import spread

from eat_lightning.model.packed import Batch
from eat_lightning.new.family_checks import assert_near, encoder_in, vectors

LONG = 8192


def body(folder: Path) -> Any:
    """Four layers, of which the second and third see 64 tokens on each side, as ModernBERT's do."""
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_labels": 3}
    sizes |= {"num_hidden_layers": 4, "intermediate_size": 16, "max_position_embeddings": LONG}
    ids = {f"{name}_token_id": 3 for name in ("bos", "eos", "cls", "sep")} | {"pad_token_id": 0}
    model: Any = ModernBertForSequenceClassification(ModernBertConfig(**sizes | ids))
    with torch.no_grad():
        for weight in spread(model).parameters():
            weight.mul_(0.7)
    model.eval().save_pretrained(folder)
    return model


@pytest.mark.nightly
def test_8192_tokens(tmp_path: Path):
    model = body(tmp_path)
    encoder = encoder_in(tmp_path)
    assert encoder.shape.local_layers == (2, 3)
    assert encoder.shape.max_length == LONG
    torch.manual_seed(1)
    ids = [2, *torch.randint(5, 50, (LONG - 1,)).tolist()]
    with torch.no_grad():
        found_ND = vectors(encoder, Batch.from_lists([ids]))
        theirs_ND = model.model(torch.tensor([ids])).last_hidden_state[0]
    assert_near(found_ND, theirs_ND)
