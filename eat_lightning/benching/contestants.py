"""Who runs: Hugging Face's classifiers as people use them, our static encoders, and EAT.

Shapes: B examples, L layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from eat_lightning.attention.dense import Dense
from eat_lightning.encoder import AdaptiveEncoder, Shape
from eat_lightning.exit._reason import Reason
from eat_lightning.exit.confidence import Confidence
from eat_lightning.exit.never import Never
from eat_lightning.packed import Batch
from eat_lightning.reduction.none import Keep
from eat_lightning.reduction.norm_topk import NormTopK

NUM_LABELS = 2


class Told(Confidence):
    """Who leaves is told beforehand, since random weights have no confidence worth a tau; the rule
    is evaluated all the same."""

    def __init__(self, layer: int):
        super().__init__(tau=1.0, layers=[layer])
        self.leaves_B = torch.zeros(0, dtype=torch.bool)

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        decided_B = super().decides(logits_EBC)
        return torch.where(self.leaves_B, int(Reason.CONFIDENT), decided_B * 0)


@dataclass(frozen=True)
class Work:
    """What a batch comes to: ids, and which of its examples are easy."""

    batch: Batch
    easy_B: Bool[Tensor, " b"]


def work(lengths: np.ndarray, easy: np.ndarray, vocab_size: int) -> Work:
    """Examples of such lengths, of random words."""
    random = np.random.default_rng(int(lengths.sum()))
    ids = [random.integers(1, vocab_size, n).tolist() for n in lengths]
    return Work(Batch.from_lists(ids), torch.from_numpy(easy))


@dataclass
class Contestant:
    """`run` answers what `ready` makes of some work. `static`: the contestant that a FLOPs ratio
    and a conversion are against (its own name: it is one). `encoder`: None if not ours."""

    name: str
    shape: Shape
    run: Callable[[Any], Any]
    ready: Callable[[Work], Any]
    static: str
    encoder: AdaptiveEncoder | None = None


def contestants(
    sizes: dict[str, Any], ratio: float, dtype: torch.dtype, seed: int = 0
) -> list[Contestant]:
    """Of num_layers, and of half as many."""
    deep = Shape(**sizes)
    half = replace(deep, num_layers=deep.num_layers // 2)
    torch.manual_seed(seed)
    third = half.num_layers // 3
    prunes = NormTopK(ratio, [third, 2 * third])
    idle = NormTopK(0.0, [third, 2 * third])
    exits = 2 * third
    return [
        hugging_face("HF BERT", deep, "static", bert(deep), dtype),
        hugging_face("HF DistilBERT", half, "static half", distilbert(half), dtype),
        own("static", deep, Never(), Keep(), None, dtype),
        own("static half", half, Never(), Keep(), None, dtype),
        own("EAT off", half, Told(exits), idle, False, dtype),
        own("EAT pruning", half, Never(), prunes, None, dtype),
        own("EAT", half, Told(exits), prunes, True, dtype),
    ]


def own(
    name: str,
    shape: Shape,
    exit: Any,
    reduction: Any,
    leaving: bool | None,
    dtype: torch.dtype,
) -> Contestant:
    """`leaving`: whether the easy ones leave, None where there is no exit."""
    encoder = AdaptiveEncoder(
        shape, NUM_LABELS, Dense(), reduction, exit, {"layers": list(exit.layers)}
    )
    encoder.eval()
    for weight in encoder.parameters():
        weight.data = weight.data.to(dtype)

    def run(given: Work) -> Any:
        if leaving is not None:
            exit.leaves_B = given.easy_B if leaving else torch.zeros_like(given.easy_B)
        return encoder(given.batch)

    static = "static" if name == "static" else "static half"
    return Contestant(name, shape, run, lambda given: given, static, encoder)


def hugging_face(
    name: str, shape: Shape, static: str, model: nn.Module, dtype: torch.dtype
) -> Contestant:
    model.eval().to(dtype)
    return Contestant(name, shape, lambda given: model(**given).logits, padded, static)


def padded(given: Work) -> dict[str, Tensor]:
    """As a tokenizer pads a batch."""
    ids = list(given.batch.ids_N.split(given.batch.lengths_B.tolist()))
    mask = [torch.ones_like(x) for x in ids]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence(mask, batch_first=True),
    }


def bert(shape: Shape) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "intermediate_size": shape.intermediate_size,
        "attn_implementation": "sdpa",
    }
    config = BertConfig(**sizes)
    return BertForSequenceClassification(config)


def distilbert(shape: Shape) -> nn.Module:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    sizes: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "dim": shape.hidden_size,
        "n_layers": shape.num_layers,
        "n_heads": shape.num_heads,
        "hidden_dim": shape.intermediate_size,
        "attn_implementation": "sdpa",
    }
    config = DistilBertConfig(**sizes)
    return DistilBertForSequenceClassification(config)
