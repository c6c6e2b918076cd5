"""Example sentences step by step: the tokens that each reduction lets into each layer, the
prediction of each exit, and where the example exits under each rule.

Shapes: B examples, L layers, C classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from eat_lightning.answer_kind import MULTI, SCORE, SINGLE, misfit
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, make_split
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import ExitRule, Reduction, at_point, point_of
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.method import argument_faults
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.specification import Specification, class_of, registry
from eat_lightning.model.trace import Trace
from eat_lightning.record.passes import inference, record_of
from eat_lightning.record.record import Record
from eat_lightning.runs.row import label
from eat_lightning.runs.run import Run

DIGITS = 4  # of probabilities and scores


def explore(
    run: Run,
    examples: int = 40,
    texts: Sequence[Sequence[str]] | None = None,
    dir: str | None = None,
) -> dict[str, Any]:
    """Return a task of the example explorer, as plain lists and dicts.

    Tokens are identified by their position in the original text.

    Args:
        examples: number of random dev examples.
        texts: the user's own, each a list with a text for every column of the task. They come
            first, without id and label.
        dir: folder of the data, if it differs from the run's.

    Raises:
        ConfigError: for texts with another number of columns.
    """
    encoder, names = run.model()
    if encoder.kind.problem_type == MULTI:
        raise ConfigError(f"{run.name}: the explorer {misfit([SINGLE, SCORE], encoder.kind)}")
    shown: list[dict[str, Any]] = []
    if texts:
        split = typed(run, texts)
        shown += [e | {"id": None} for e in entries(run, encoder, split, range(len(split)), names)]
    if examples:
        data = run.data(dir=dir).split("validation")
        chosen = np.random.default_rng(0).permutation(len(data))[:examples]
        shown += entries(run, encoder, data, sorted(chosen.tolist()), names)
    return {
        "task": run.task.name,
        "run": f"{run.config['study']}/{run.name}",
        "command": f"python -m eat_lightning.predict run=outputs/{run.config['study']}/{run.name}",
        "labels": names,
        "examples": shown,
    }


def typed(run: Run, texts: Sequence[Sequence[str]]) -> Split:
    """Return sentences without labels as a split."""
    columns = run.task.columns
    for text in texts:
        if isinstance(text, str) or len(text) != len(columns):
            raise ConfigError(f"texts must each be a list of {' and '.join(columns)}, got {text!r}")
    source = Source([list(c) for c in zip(*texts, strict=True)], np.full(len(texts), np.nan))
    data = run.data()
    return make_split("typed", source, data.tokenizer, data.max_length)


def walk(encoder: AdaptiveEncoder, part: Split) -> Iterator[tuple[Record, list[list[int]]]]:
    """Yield the record of each example of a split, and the positions of the tokens that enter each
    layer. Examples run one at a time, through every layer.
    """
    options = PassOptions(leave=False, keep_hidden=True)
    with inference(encoder):
        for row in range(len(part)):
            batch = part.batch(np.array([row])).to(encoder.strength.device)
            trace: Trace = encoder(batch, options)
            yield record_of(encoder, trace, batch), entering(trace)


def entering(trace: Trace) -> list[list[int]]:
    """Return the positions of the tokens that entered each layer, from the trace of one example.

    These are the tokens after the layer, or before it if the reduction acts inside the layer.
    """
    hidden = trace.inside.hidden
    places = [hidden[layer].position_N.tolist() for layer in sorted(hidden)]
    lengths = trace.tokens_LB[:, 0].tolist()
    pairs = zip(places, places[1:], lengths, strict=False)
    return [after if len(after) == length else before for before, after, length in pairs]


def entries(
    run: Run, encoder: AdaptiveEncoder, split: Split, rows: Sequence[int], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return an entry for each row, with results for each reduction; the run's own comes first."""
    tokenizer = run.tokenizer()
    found = [
        {
            "id": int(row),
            "text": list(split.text(row)),
            "label": label_of(split.labels[row], names),
            **tokens_of(tokenizer, split, row),
            "ways": [],
        }
        for row in rows
    ]
    for method in compared(encoder):
        name = str(Specification.of("reduction", method))
        walked = walk(encoder.replacing(reduction=method), split.take(rows))
        for entry, (record, places) in zip(found, walked, strict=True):
            shown = {"name": name, "own": method is encoder.reduction, "kept": places}
            entry["ways"].append(shown | described(record, names))
    return found


def compared(encoder: AdaptiveEncoder) -> list[Reduction]:
    """Return the run's own reduction, the package's others at the same ratio and layers (or at
    their defaults where the run has none), and no reduction.
    """
    reduction = encoder.reduction
    shared = {k: getattr(reduction, k) for k in ("ratio", "layers") if hasattr(reduction, "ratio")}
    kinds = sorted(registry("reduction"))
    found = [reduction]
    for kind in sorted(kinds, key=lambda kind: kind == "none"):
        cls: Any = class_of("reduction", kind)
        takes = inspect.signature(cls).parameters
        alike = kind == "none" or {"ratio", "layers"} <= takes.keys()
        if type(reduction) is cls or not alike:
            continue
        arguments = {} if kind == "none" else shared
        if not argument_faults(cls, encoder.shape.num_layers, **arguments):
            found.append(Specification("reduction", kind, arguments).build())
    return found


def described(record: Record, names: Sequence[str]) -> dict[str, Any]:
    """Return the prediction of each exit for an example, and where each rule lets it exit."""
    rules = []
    for rule in rules_of(record.exit, len(names)):
        outcome, point = record.replay(rule), point_of(rule)
        found = {
            "rule": label(Specification.of("exit", rule)),
            "point": point,
            "own": point == point_of(record.exit),
            "left_at": int(outcome.depth_B[0]),
            "reason": outcome.names[int(outcome.reason_B[0])],
            "answer": guess(outcome.logits_BC[0], names)["answer"],
        }
        rules.append(found)
    guesses = record.guesses.items()
    exits = [{"layer": layer, **guess(logits_BC[0], names)} for layer, logits_BC in guesses]
    return {"exits": exits, "rules": rules}


def rules_of(rule: ExitRule, num_labels: int) -> list[ExitRule]:
    """Return the run's own rule, and others on the grid of its threshold if that is one number."""
    knob, point = rule.knob, point_of(rule)
    if knob is None or not isinstance(point, float | int):
        return [rule]
    return [at_point(rule, other) for other in sorted({*knob.grid_for(num_labels), float(point)})]


def guess(logits_C: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return probabilities, the largest one and its class; for a regression only the score."""
    if not names:
        score = round(float(logits_C[0]), DIGITS)
        return {"probabilities": [], "confidence": None, "answer": score}
    shares, best = softmax(logits_C).round(DIGITS).tolist(), int(logits_C.argmax())
    return {"probabilities": shares, "confidence": shares[best], "answer": names[best]}


def label_of(value: Any, names: Sequence[str]) -> str | float | None:
    if np.isnan(value):
        return None
    return names[int(value)] if names else round(float(value), DIGITS)


def tokens_of(tokenizer: Any, split: Split, row: int) -> dict[str, Any]:
    """Return subwords as the tokenizer displays them, and the text that each belongs to."""
    places = slice(*split.tokens.offsets[row : row + 2])
    ids, types = split.tokens.ids[places], split.tokens.types[places]
    if len(split.source.texts) == 2 and not types.any():  # a tokenizer without types
        ends = ids == tokenizer.sep_token_id
        types = (ends.cumsum() - ends).clip(0, 1)
    return {"tokens": tokenizer.convert_ids_to_tokens(ids.tolist()), "segments": types.tolist()}
