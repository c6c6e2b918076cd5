"""The way of example sentences: which tokens each reduction lets into each layer, what each exit
thought, and where the example leaves under each rule.

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
    """A task of the example explorer, as plain lists and dicts.

    examples: how many of dev to show, by chance. texts: a person's own, each a list with a
    text for every column of the task; they come first, without id and label. dir: the data's
    folder where it is not that of the run. Tokens are named by their place in the original text.
    Raises ConfigError for texts of another shape.
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
    """Sentences without labels as a split."""
    columns = run.task.columns
    for text in texts:
        if isinstance(text, str) or len(text) != len(columns):
            raise ConfigError(f"texts must each be a list of {' and '.join(columns)}, got {text!r}")
    source = Source([list(c) for c in zip(*texts, strict=True)], np.full(len(texts), np.nan))
    data = run.data()
    return make_split("typed", source, data.tokenizer, data.max_length)


def walk(encoder: AdaptiveEncoder, part: Split) -> Iterator[tuple[Record, list[list[int]]]]:
    """For each example of a split what all exits made of it, and the places of the tokens that
    entered each layer. Each goes alone and through every layer."""
    options = PassOptions(leave=False, keep_hidden=True)
    with inference(encoder):
        for row in range(len(part)):
            batch = part.batch(np.array([row])).to(encoder.strength.device)
            trace: Trace = encoder(batch, options)
            yield record_of(encoder, trace, batch), entering(trace)


def entering(trace: Trace) -> list[list[int]]:
    """The places of the tokens that entered each layer, from the trace of one example.

    They are those after the layer; where the reduction acts inside of it, those before it.
    """
    hidden = trace.inside.hidden
    places = [hidden[layer].position_N.tolist() for layer in sorted(hidden)]
    lengths = trace.tokens_LB[:, 0].tolist()
    pairs = zip(places, places[1:], lengths, strict=False)
    return [after if len(after) == length else before for before, after, length in pairs]


def entries(
    run: Run, encoder: AdaptiveEncoder, split: Split, rows: Sequence[int], names: Sequence[str]
) -> list[dict[str, Any]]:
    """One for each row, with a way for each reduction, the run's own first."""
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
    """The run's own reduction, the package's others at the same ratio and layers (a run without
    any: at theirs), and none."""
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
    """The guess of each exit about an example, and where each rule lets it go."""
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
    """The run's own rule; where its knob has one point for all exits, those of the grid too."""
    knob, point = rule.knob, point_of(rule)
    if knob is None or not isinstance(point, float | int):
        return [rule]
    return [at_point(rule, other) for other in sorted({*knob.grid_for(num_labels), float(point)})]


def guess(logits_C: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Probabilities, the largest of them and its class; of a regression only the score."""
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
    """Subwords as the tokenizer shows them, and which text each belongs to."""
    places = slice(*split.tokens.offsets[row : row + 2])
    ids, types = split.tokens.ids[places], split.tokens.types[places]
    if len(split.source.texts) == 2 and not types.any():  # a tokenizer without types
        ends = ids == tokenizer.sep_token_id
        types = (ends.cumsum() - ends).clip(0, 1)
    return {"tokens": tokenizer.convert_ids_to_tokens(ids.tolist()), "segments": types.tolist()}
