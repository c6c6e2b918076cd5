"""A tiny encoder, and examples of all edge-case lengths, on which methods are checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from eat_lightning.answer_kind import SCORE, AnswerKind, kind_of
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.contracts import Attention, ExitRule, Reduction
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape

VOCAB, SEP = 50, 3


def tiny_shape(**changes: Any) -> Shape:
    """Six layers, 16 wide, for at most 40 tokens."""
    sizes: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "num_layers": 6,
        "num_heads": 4,
        "intermediate_size": 24,
        "max_positions": 40,
        "sep_token_id": SEP,
    }
    return Shape(**(sizes | changes))


def spread(model: nn.Module, seed: int = 2) -> nn.Module:
    """Set weights that distinguish examples. With equal LayerNorm gammas all norms tie, so that
    pruning would depend on rounding; with small matrices all examples exit together.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            bias = 0.4 if "norm" in name.lower() else 0.05
            weight.add_((0.5 if weight.ndim == 2 else bias) * noise)
    return model


def kind_for(exit: ExitRule, num_labels: int) -> AnswerKind:
    """Return a kind of answers that an exit rule supports: the usual one for `num_labels`, if
    possible.
    """
    kind = kind_of({}, num_labels)
    if kind.problem_type not in exit.kinds:
        first = exit.kinds[0]
        about = {"problem_type": first, "answer": {"tolerance": 0.1}}
        kind = kind_of(about, 1 if first == SCORE else num_labels)
    return kind.with_error() if exit.wants_error else kind


def tiny_encoder(
    attention: Attention | None = None,
    reduction: Reduction | None = None,
    exit: ExitRule | None = None,
    num_labels: int = 3,
    head: dict[str, Any] | None = None,
    **changes: Any,
) -> AdaptiveEncoder:
    """Return an encoder in evaluation mode with these methods (None: static), and heads at the
    layers of the exit rule.

    Args:
        changes: sizes that differ from `tiny_shape`.
    """
    exit = exit or Never()
    kind = kind_for(exit, num_labels)
    torch.manual_seed(0)
    encoder = AdaptiveEncoder(
        tiny_shape(**changes),
        kind.num_labels,
        attention or Dense(),
        reduction or Keep(),
        exit,
        {"layers": list(exit.layers)} | (head or {}),
        kind=kind,
    )
    spread(encoder)
    encoder.reduction.after_step()  # learned values back within their bounds
    return encoder.eval()


def ragged(lengths: list[int] | tuple[int, ...] = (9, 1, 14, 2, 7), seed: int = 0) -> Batch:
    """Return examples that start with [CLS] (2) and, if long enough, end with [SEP]."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(5, VOCAB, (n,), generator=generator).tolist() for n in lengths]
    ids = [([2, *example[1:-1], SEP] if len(example) > 1 else [2]) for example in ids]
    types = [[int(i > len(example) // 2) for i in range(len(example))] for example in ids]
    return Batch.from_lists(ids, types)


def alone(batch: Batch) -> list[Batch]:
    """Each example as a batch of one."""
    return [batch.take(torch.tensor([i])) for i in range(batch.size)]
