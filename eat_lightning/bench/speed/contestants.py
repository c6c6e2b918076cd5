"""Who runs at random weights: Hugging Face's classifiers as people use them, our static encoders,
EAT; and what adaptivity costs where nothing adapts.

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

from eat_lightning.bench.speed.ceilings import DTYPES
from eat_lightning.infer.prepacked import cannot, prepacked
from eat_lightning.measure.baselines import in_dtype
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.cls_topk import ClsTopK
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.methods.reduction.received_topk import ReceivedTopK
from eat_lightning.model.encoder import AdaptiveEncoder, Shape, with_slots
from eat_lightning.model.packed import Batch
from eat_lightning.model.reason import Reason

NUM_LABELS = 2
SCORES = {"norm": NormTopK, "[CLS]": ClsTopK, "received": ReceivedTopK}


class Told(Confidence):
    """Who leaves is told beforehand, since random weights have no confidence worth a tau; the rule
    is evaluated all the same."""

    def __init__(self, layer: int):
        super().__init__(tau=1.0, layers=[layer])
        self.leaves_B = torch.zeros(0, dtype=torch.bool)

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        decided_B = super().decides(logits_EBC)
        return torch.where(self.leaves_B, 1, decided_B * 0)


class Unmoved(Confidence):
    """A confidence rule that is evaluated and never followed: whatever a head says, all stay."""

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        return super().decides(logits_EBC) * int(Reason.STAYS)


@dataclass(frozen=True)
class Work:
    """What a batch comes to: ids, and which of its examples are easy (of random weights)."""

    batch: Batch
    easy_B: Bool[Tensor, " b"]


def work(lengths: np.ndarray, easy: np.ndarray, vocab_size: int) -> Work:
    """Examples of such lengths, of random words."""
    random = np.random.default_rng(int(lengths.sum()))
    ids = [random.integers(1, vocab_size, n).tolist() for n in lengths]
    return Work(Batch.from_lists(ids), torch.from_numpy(easy))


def itself(given: Any) -> Any:
    return given


@dataclass
class Contestant:
    """`run` answers what `ready` makes of some work.

    static: the contestant that a FLOPs ratio and a conversion are against (its own name: it is
    one). encoder: whose work is counted on what `traced` answers (None: `run`); no encoder: that of
    `static`. passes: forward passes that its FLOPs come to (a training step: 3). answers_like: the
    contestant of the same weights whose answers it must give.
    """

    name: str
    dtype: str
    shape: Shape
    run: Callable[[Any], Any]
    ready: Callable[[Work], Any]
    static: str
    encoder: AdaptiveEncoder | None = None
    traced: Callable[[Any], Any] | None = None
    passes: int = 1
    answers_like: str | None = None


@dataclass
class Field:
    """Who races: `over` names those that times are told against, by what a person calls them;
    `missing` says in a line each who is not there, and why."""

    contestants: list[Contestant]
    over: dict[str, str]
    missing: list[str]


def contestants(sizes: dict[str, Any], ratio: float, dtype: str, seed: int = 0) -> Field:
    """Of num_layers, and of half as many."""
    deep = Shape(**sizes)
    half = replace(deep, num_layers=deep.num_layers // 2)
    torch.manual_seed(seed)
    third = half.num_layers // 3
    prunes = NormTopK(ratio, [third, 2 * third])
    idle = NormTopK(0.0, [third, 2 * third])
    exits = 2 * third
    found = [
        hugging_face("HF BERT", deep, "static", bert(deep), dtype),
        hugging_face("HF DistilBERT", half, "static half", distilbert(half), dtype),
        own("static", deep, Never(), Keep(), None, dtype),
        own("static half", half, Never(), Keep(), None, dtype),
        own("EAT off", half, Told(exits), idle, False, dtype),
        own("EAT pruning", half, Never(), prunes, None, dtype),
        own("EAT", half, Told(exits), prunes, True, dtype),
    ]
    missing, eat = [], found[-1].encoder
    assert eat is not None
    if reason := cannot(eat):
        missing.append(f"EAT prepacked: no rows, {reason}")
    else:
        found.append(own("static prepacked", deep, Never(), Keep(), None, dtype, True))
        found.append(own("static half prepacked", half, Never(), Keep(), None, dtype, True))
        found.append(own("EAT prepacked", half, Told(exits), prunes, True, dtype, True))
    return Field(found, {"BERT": "HF BERT", "DistilBERT": "HF DistilBERT"}, missing)


def idling(encoder: AdaptiveEncoder, dtype: str) -> Field:
    """An encoder with everything off, the same once more (what noise comes to), and with heads and
    scores evaluated for nothing: ratio 0, and all stay."""
    encoder = in_dtype(encoder.eval(), dtype)
    last = encoder.shape.num_layers
    layers = [int(k) for k in encoder.heads if int(k) < last]
    pruned = list(encoder.reduction.layers) or layers
    static = with_slots(encoder, attention=Dense(), reduction=Keep(), exit=Never())

    def entry(name: str, body: AdaptiveEncoder) -> Contestant:
        given = {"run": lambda work: body(work.batch), "ready": itself}
        return Contestant(name, dtype, body.shape, static="static", encoder=body, **given)

    unmoved = with_slots(static, exit=Unmoved(1.0, layers))
    idle = {f"off, {k} scores": v(0.0, pruned) for k, v in SCORES.items()}
    found = [
        entry("static", static),
        entry("static again", static),
        entry("off, no scores", unmoved),
        *(entry(name, with_slots(unmoved, reduction=scores)) for name, scores in idle.items()),
    ]
    return Field(found, {"static": "static"}, [])


def random_encoder(shape: Shape, seed: int) -> AdaptiveEncoder:
    """With a head after two thirds of its layers, and pruning after a third and two thirds."""
    torch.manual_seed(seed)
    third = shape.num_layers // 3
    prunes: Any = NormTopK(0.3, [third, 2 * third])
    exit: Any = Confidence(1.0, [2 * third])
    return AdaptiveEncoder(shape, NUM_LABELS, Dense(), prunes, exit, {"layers": [2 * third]})


def own(
    name: str,
    shape: Shape,
    exit: Any,
    reduction: Any,
    leaving: bool | None,
    dtype: str,
    arranged: bool = False,
) -> Contestant:
    """`leaving`: whether the easy ones leave, None where there is no exit. `arranged`: its weights
    are prepacked."""
    encoder = AdaptiveEncoder(
        shape, NUM_LABELS, Dense(), reduction, exit, {"layers": list(exit.layers)}
    )
    encoder = in_dtype(encoder.eval(), dtype)
    exit, encoder = encoder.exit, prepacked(encoder) if arranged else encoder

    def run(given: Work) -> Any:
        if leaving is not None:
            exit.leaves_B = given.easy_B if leaving else torch.zeros_like(given.easy_B)
        return encoder(given.batch)

    whole = name in ("static", "static prepacked")
    static = f"static{' half' * (not whole)}{' prepacked' * arranged}"
    return Contestant(name, dtype, shape, run, itself, static, encoder)


def hugging_face(name: str, shape: Shape, static: str, model: nn.Module, dtype: str) -> Contestant:
    model.eval().to(DTYPES[dtype])
    return Contestant(name, dtype, shape, lambda given: model(**given).logits, padded, static)


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
