"""A classifier's folder in our kernels: its encoder, with the exits that lie beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eat_lightning.answer_kind import AnswerKind, Score
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.heads import JUDGES
from eat_lightning.model.specification import Specification, build
from eat_lightning.record.point import Point
from eat_lightning.weights.checkpoint import depth_of, load_pretrained
from eat_lightning.weights.exits import exits_beside, load_exits
from eat_lightning.weights.factors import load_factors
from eat_lightning.weights.precision import form_of, in_dtype, in_form


def open_in_kernels(
    folder: Path,
    kind: AnswerKind,
    point: Point,
    columns: list[str],
    labels: list[str],
    max_length: int,
) -> TorchModel:
    """Open the classifier of a folder to answer texts at a point."""
    tokenizer = tokenizer_for(str(folder))
    encoder = encoder_of(folder, kind, len(columns), tokenizer)
    encoder = point.on(in_kernels(encoder, point.dtype))
    return TorchModel(folder, encoder, tokenizer, columns, labels, max_length)


def encoder_of(
    folder: Path, kind: AnswerKind, num_texts: int, tokenizer: Any, column: int | None = None
) -> AdaptiveEncoder:
    """Our encoder of a classifier's folder, with its exits; in evaluation mode.

    Where the folder has none, new heads stand at the embedding and behind each layer but the last,
    and nobody leaves there.

    Args:
        column: the one logit of the classifier that is the answer, a score; None: all are.
    """
    early = list(range(depth_of(str(folder)) or 1))
    head = early_head(kind, num_texts) | {
        "layers": early,
        "texts": num_texts,
        "activation": "tanh",
    }
    judge = Specification(
        "exit", JUDGES[kind.problem_type], {"layers": early, **strict_point(kind)}
    )
    beside = exits_beside(folder)
    chosen = {"head": head | {"last": "auto"}, "exit": judge} | beside
    exit = build("exit", chosen["exit"])
    encoder = load_pretrained(
        str(folder),
        kind.num_labels,
        Dense(),
        Keep(),
        exit,
        chosen["head"],
        tokenizer=tokenizer,
        kind=kind.with_error() if exit.wants_error else kind,
        column=column,
    )
    if beside:
        load_exits(encoder, folder)
    load_factors(encoder, folder)
    return encoder.eval()


def early_head(kind: AnswerKind, num_texts: int) -> dict[str, Any]:
    """Return kind and options of new heads. A score is often that of a long document, and to match
    tokens costs their number squared. A single text has nothing to match."""
    if isinstance(kind, Score):
        return {"kind": "pair"}
    if num_texts == 1:
        return {"kind": "pair", "narrowing": 2}  # half the weights decide as well
    return {"kind": "aligned", "largest": False, "narrowing": 8}  # fewer operations and weights


def in_kernels(encoder: AdaptiveEncoder, dtype: str) -> AdaptiveEncoder:
    """Convert an encoder to a dtype, its weights as our kernels have them fastest."""
    return in_form(in_dtype(encoder, dtype), form_of(None, dtype))


def strict_point(kind: AnswerKind) -> dict[str, Any]:
    """Arguments of the usual rule of a kind with which nobody leaves."""
    return {"bound": 0.0, "cuts": [*kind.cuts]} if isinstance(kind, Score) else {"tau": 1.0}
