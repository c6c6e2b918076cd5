"""Candidates in PyTorch: Hugging Face's classifiers as people use them, the static encoder, EAT,
and encoders that evaluate heads and scores for nothing.

Shapes: B examples, E exits, C classes, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from eat_lightning.infer.precision import in_dtype
from eat_lightning.infer.prepacked import cannot_in, prepacked
from eat_lightning.measure.baselines import HuggingFaceTwin
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.cls_topk import ClsTopK
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.methods.reduction.received_topk import ReceivedTopK
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.shape import Shape
from experiments.bench.ceilings import DTYPES
from experiments.bench.workload import Examples

NUM_LABELS = 2
UNPADDED = "HF unpadded: no rows, transformers packs rows for flash attention alone (CUDA)"
SCORES = {"norm": NormTopK, "[CLS]": ClsTopK, "received": ReceivedTopK}


@dataclass
class Candidate:
    """`run` answers what `ready` makes of examples.

    static: the candidate that a FLOPs ratio and a conversion are against (its own name: it is one).
    encoder: whose work is counted on what `traced` answers (None: `run`); no encoder: that of
    `static`. passes: forward passes that its FLOPs come to (a training step: 3). answers_like: the
    candidate of the same weights whose answers it must give.
    """

    name: str
    dtype: str
    shape: Shape
    run: Callable[[Any], Any]
    ready: Callable[[Examples], Any]
    static: str
    encoder: AdaptiveEncoder | None = None
    traced: Callable[[Any], Any] | None = None
    passes: int = 1
    answers_like: str | None = None


@dataclass
class Field:
    """Candidates of a race. over: those that times are set against, by what a person calls them.
    over_best_static: also against the fastest static candidate of the same layers and dtype,
    whatever runs it. missing: a line for each who is not there, and why."""

    candidates: list[Candidate] = field(default_factory=list)
    over: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    over_best_static: bool = False

    def only(self, words: Sequence[str]) -> None:
        """Leave out candidates whose names hold none of the words, but for those that another is
        set against."""
        chosen = [c for c in self.candidates if any(word in c.name for word in words)]
        needed = {c.static for c in chosen} | {c.answers_like for c in chosen}
        needed |= {c.name for c in chosen}
        self.candidates = [c for c in self.candidates if c.name in needed]
        self.over = {label: name for label, name in self.over.items() if name in needed}

    def __getitem__(self, name: str) -> Candidate:
        return next(c for c in self.candidates if c.name == name)


class Preset(Confidence):
    """A rule whose leavers are set beforehand, since random weights have no confidence worth a
    threshold; the rule is evaluated all the same. leaves: of every example, or set for each
    batch."""

    def __init__(self, layer: int, *leaves: bool):
        super().__init__(tau=1.0, layers=[layer])
        self.leaves_B = torch.tensor(leaves, dtype=torch.bool)

    def decides(
        self, logits_EBC: Float[Tensor, "e b c"], signals_EBS: Float[Tensor, "e b s"] | None = None
    ) -> Int[Tensor, " b"]:
        decided_B = super().decides(logits_EBC, signals_EBS)
        return torch.where(self.leaves_B, 1, decided_B * 0)


class Unheeded(Confidence):
    """A confidence rule that is evaluated and never followed: whatever a head says, all stay."""

    def decides(
        self, logits_EBC: Float[Tensor, "e b c"], signals_EBS: Float[Tensor, "e b s"] | None = None
    ) -> Int[Tensor, " b"]:
        return super().decides(logits_EBC, signals_EBS) * 0


def random_encoder(shape: Shape, ratio: float = 0.3, seed: int = 0) -> AdaptiveEncoder:
    """Make one with a head after two thirds of its layers, and pruning after a third and two."""
    torch.manual_seed(seed)
    third = shape.num_layers // 3
    prunes: Any = NormTopK(ratio, [third, 2 * third])
    exit: Any = Confidence(1.0, [2 * third])
    return AdaptiveEncoder(shape, NUM_LABELS, Dense(), prunes, exit, {"layers": [2 * third]}).eval()


def bare(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """The same weights with everything off."""
    return encoder.replacing(attention=Dense(), reduction=Keep(), exit=Never())


def packed(name: str, encoder: AdaptiveEncoder, dtype: str, static: str) -> Candidate:
    """An encoder of ours as it is called: on packed examples, whose leavers are set beforehand
    where its rule is a `Preset`."""
    exit = encoder.exit

    def run(given: Examples) -> Any:
        if isinstance(exit, Preset):
            exit.leaves_B = given.easy_B
        return encoder(given.batch)

    return Candidate(name, dtype, encoder.shape, run, lambda given: given, static, encoder)


def random_weights(shape: Shape, ratio: float, dtype: str, seed: int = 0) -> Field:
    """Random weights of so many layers, and of half as many."""
    half = replace(shape, num_layers=shape.num_layers // 2)
    deep = bare(in_dtype(random_encoder(shape, ratio, seed), dtype))
    prunes = in_dtype(random_encoder(half, ratio, seed), dtype)
    exits = [*prunes.exit.layers]
    zero = NormTopK(0.0, list(prunes.reduction.layers))
    idle = prunes.replacing(reduction=zero, exit=Unheeded(1.0, exits))
    found = [
        hugging_face("HF BERT", "bert", shape, "static", dtype),
        hugging_face("HF DistilBERT", "distilbert", half, "static half", dtype),
        packed("static", deep, dtype, "static"),
        packed("static half", bare(prunes), dtype, "static half"),
        packed("EAT off", idle, dtype, "static half"),
        packed("EAT pruning", prunes.replacing(exit=Never()), dtype, "static half"),
        packed("EAT", prunes.replacing(exit=Preset(exits[0])), dtype, "static half"),
    ]
    field = Field(found, {"BERT": "HF BERT", "DistilBERT": "HF DistilBERT"})
    add_prepacked(field, {name: f"{name} prepacked" for name in ("static", "static half", "EAT")})
    return field


def add_prepacked(field: Field, twins: Mapping[str, str]) -> None:
    """Add prepacked twins of candidates, or say why there are none. twins: their names by those of
    the candidates, EAT's the last; a twin is set against its static candidate's twin."""
    origins = [field[name] for name in twins]
    encoders = [origin.encoder for origin in origins if origin.encoder]
    if reason := cannot_in(origins[-1].dtype):
        field.missing.append(f"{[*twins.values()][-1]}: no rows, {reason}")
        return
    for c, encoder in zip(origins, encoders, strict=True):
        twin = packed(twins[c.name], prepacked(encoder), c.dtype, twins[c.static])
        field.candidates.append(twin)


def hugging_face(name: str, kind: str, shape: Shape, static: str, dtype: str) -> Candidate:
    """A classifier of transformers in PyTorch's eager mode, padded as a tokenizer pads."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(
        kind,
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.intermediate_size,
        hidden_dim=shape.intermediate_size,  # DistilBERT's word for it
        attn_implementation="sdpa",
    )
    model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    model.eval().to(DTYPES[dtype])

    def ready(given: Examples) -> dict[str, Tensor]:
        ids = given.batch.ids_N.split(given.batch.lengths_B.tolist())
        ids_BL = pad_sequence(list(ids), batch_first=True)
        real_BL = torch.arange(ids_BL.shape[1]) < given.batch.lengths_B[:, None]
        return {"input_ids": ids_BL, "attention_mask": real_BL.long()}

    return Candidate(name, dtype, shape, lambda given: model(**given).logits, ready, static)


def idling(encoder: AdaptiveEncoder, dtype: str) -> Field:
    """An encoder with everything off, the same once more (what noise comes to), and with heads and
    scores evaluated for nothing: ratio 0, and all stay."""
    encoder = in_dtype(encoder.eval(), dtype)
    last = encoder.shape.num_layers
    layers = [int(k) for k in encoder.heads if int(k) < last]
    pruned = list(encoder.reduction.layers) or layers
    static = bare(encoder)
    unheeded = static.replacing(exit=Unheeded(1.0, layers))
    bodies = {"static": static, "static again": static, "off, no scores": unheeded}
    for name, reduction in SCORES.items():
        bodies[f"off, {name} scores"] = unheeded.replacing(reduction=reduction(0.0, pruned))
    found = [packed(name, body, dtype, "static") for name, body in bodies.items()]
    return Field(found, {"static": "static"})


def of_run(encoder: AdaptiveEncoder, dtypes: Sequence[str]) -> Field:
    """A run's weights in each dtype: Hugging Face's model of them, static and EAT as they are, and
    both prepacked. Its own exit rule says who leaves."""
    found = Field()
    for dtype in dtypes:
        body, static = in_dtype(encoder.eval(), dtype), f"static {dtype}"
        found.candidates += [
            hugging_face_twin(body, dtype, static),
            packed(static, bare(body), dtype, static),
            packed(f"EAT {dtype}", body, dtype, static),
        ]
        twins = {f"{who} {dtype}": f"{who} prepacked {dtype}" for who in ("static", "EAT")}
        add_prepacked(found, twins)
    return found


def of_body(shape: Shape, ratio: float, dtype: str, seed: int) -> Field:
    """Hugging Face's model of the same random weights, padded; ours with everything off; and EAT,
    which prunes and where the easy leave after two thirds of the layers. Ours prepacked, too."""
    prunes = random_encoder(shape, ratio, seed)
    leaves = prunes.replacing(exit=Preset(next(iter(prunes.exit.layers))))
    found = of_run(leaves, [dtype])
    found.over = {"HF": f"HF {dtype}", "static": f"static {dtype}"}
    found.missing.append(UNPADDED)
    return found


def hugging_face_twin(encoder: AdaptiveEncoder, dtype: str, static: str) -> Candidate:
    """Hugging Face's model of the same weights, which in fp32 must answer as static does."""
    twin, equal = HuggingFaceTwin(encoder), static if dtype == "fp32" else None

    def ready(given: Examples) -> dict[str, Tensor]:
        return twin.ready(given.batch)

    return Candidate(f"HF {dtype}", dtype, encoder.shape, twin, ready, static, answers_like=equal)
