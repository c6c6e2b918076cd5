"""One example's path through its exits, for a person: each guess, against which point of the
rule's knob, where the example left and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eat_lightning.bundle.model import Model
from eat_lightning.errors import ConfigError
from eat_lightning.machine import has_torch
from eat_lightning.model.trace import Trace


def explained(backend: Model, text: str | Sequence[str]) -> list[str]:
    """A line for each exit on the way, and one for the answer. text: one, or one for each of the
    task's columns. ConfigError where their number is another."""
    texts = [text] if isinstance(text, str) else [*text]
    if len(texts) != len(backend.columns) or not all(isinstance(each, str) for each in texts):
        columns = " and ".join(backend.columns)
        raise ConfigError(f"text must be {len(backend.columns)} ({columns}), got {texts!r:.80}")
    trace = backend.look(texts, {})
    answer = backend.printed(trace)[0]
    depth, reason, retention = answer["depth"], answer["exit_reason"], answer["retention"]
    lines = []
    for guess in guesses_of(backend, trace):
        layer, threshold = guess.pop("layer"), guess.pop("threshold", None)
        parts = [described(guess)]
        if layer in trace.signals:
            parts.append("signal " + " ".join(f"{x:.3f}" for x in trace.signals[layer][0]))
        if threshold is not None:
            parts.append(f"{threshold['name']} {threshold['value']:g}")
        then = "leaves" if layer == depth else "goes on"
        lines.append(f"layer {layer}: {', '.join(parts)}: {then}")
    said = answer[next(iter(backend.kind.columns))]
    if isinstance(said, list):
        said = ", ".join(said) or "no label"
    where = f"{depth} of {backend.num_layers} layers"
    return [*lines, f"{said} after {where}: {reason}, retention {retention:.3f}"]


def guesses_of(backend: Model, trace: Trace) -> list[dict[str, Any]]:
    """Describe each exit on the path of an example, of which a trace is.

    Each has its layer, the answer there as its kind is printed, and the threshold of the rule's
    knob: its name, its value, and whether it bounds the confidence.
    """
    thresholds, found = thresholds_of(backend), []
    for layer, guess_1C in trace.guesses.items():
        guess = {"layer": layer} | backend.kind.printed(guess_1C, backend.labels)[0]
        if layer in thresholds:
            guess["threshold"] = thresholds[layer]
        found.append(guess)
    return found


def thresholds_of(backend: Model) -> dict[int, dict[str, Any]]:
    """Where the knob of the exit rule stands at each layer.

    Empty without torch: graphs follow their rule, and do not name its knob.
    """
    if not has_torch():
        return {}
    from eat_lightning.model.contracts import points_by_layer

    rule = backend.exit_rule
    if (knob := rule.knob) is None:
        return {}
    about = {"name": knob.name, "of_confidence": knob.is_confidence}
    return {layer: about | {"value": point} for layer, point in points_by_layer(rule).items()}


def described(answer: Mapping[str, Any]) -> str:
    """Describe an answer: each of its parts, and the label by itself."""
    texts = {key: text_of(value) for key, value in answer.items()}
    return ", ".join(text if key == "label" else f"{key} {text}" for key, text in texts.items())


def text_of(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(text_of, value)) or "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
