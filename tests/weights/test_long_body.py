"""A text of 8,192 tokens through a body with local layers: transformers' vectors, in memory that
grows with the text and not with its square."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models import spread
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eat_lightning.model.packed import Batch
from eat_lightning.new.family_checks import assert_near, encoder_in, vectors

LONG = 8192


class Largest(TorchDispatchMode):
    """Watches how many bytes the largest tensor has that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.num_bytes = max(self.num_bytes, tensor.untyped_storage().nbytes())
        return made


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
        with Largest() as seen:
            found_ND = vectors(encoder, Batch.from_lists([ids]))
        theirs_ND = model.model(torch.tensor([ids])).last_hidden_state[0]
    assert_near(found_ND, theirs_ND)
    # Queries, keys and values of all tokens are 1.6 MB; one byte for each pair would be 67.
    assert seen.num_bytes < LONG**2 / 4
