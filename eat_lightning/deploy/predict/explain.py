"""One example's path through its exits, for a person: each guess, against which point of the
rule's knob, where the example left and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Backend
from eat_lightning.model.contracts import points_by_layer
from eat_lightning.text_io import softmax


def explained(backend: Backend, text: str | Sequence[str]) -> list[str]:
    """A line for each exit on the way, and one for the answer. text: one, or one for each of the
    task's columns. ConfigError where their number is another."""
    texts = [text] if isinstance(text, str) else [*text]
    if len(texts) != len(backend.columns) or not all(isinstance(each, str) for each in texts):
        columns = " and ".join(backend.columns)
        raise ConfigError(f"text must be {len(backend.columns)} ({columns}), got {texts!r:.80}")
    look = backend.look(texts, {})
    knob, points = look.exit.knob, points_by_layer(look.exit)
    depth, reason = look.answer["depth"], look.answer["exit_reason"]
    lines = []
    for layer, logits_C in look.guesses.items():
        parts = [guess_text(logits_C, backend.labels)]
        if layer in look.signals:
            parts.append("signal " + " ".join(f"{x:.3f}" for x in look.signals[layer]))
        if knob is not None and layer in points:
            parts.append(f"{knob.name} {points[layer]:g}")
        then = "leaves" if layer == depth else "goes on"
        lines.append(f"layer {layer}: {', '.join(parts)}: {then}")
    answer = look.answer.get("label", look.answer.get("score"))
    where = f"{depth} of {backend.num_layers} layers"
    return [*lines, f"{answer} after {where}: {reason}, retention {look.answer['retention']:.3f}"]


def guess_text(logits_C: np.ndarray, labels: Sequence[str]) -> str:
    """Describe an exit's logits: the score, or the likeliest label and its confidence."""
    if not labels:
        return f"score {float(logits_C[0]):.3f}"
    shares_C = softmax(logits_C)
    return f"{labels[int(shares_C.argmax())]}, confidence {shares_C.max():.3f}"
