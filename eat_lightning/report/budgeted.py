"""Methods fitted for budgets, with a line for each budget, for the claims `budgets`, `methods` and
`compare`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.model.specification import value_text
from eat_lightning.report import columns as col
from eat_lightning.report.baselines import GAIN, MIX, TRAINED, Entry
from eat_lightning.report.figures import looks, looks_of
from eat_lightning.report.speed import REPEATS, speed_up
from eat_lightning.report.study import Mark, Study, grouped_by
from eat_lightning.runs.names import USUAL
from eat_lightning.runs.row import FIXED

Rule = tuple[str, str]  # kind and layers

NEED = "no row here was fitted for a budget: python -m eat_lightning.measure run=... budgets=[0.5]"
OWN = "times as fast as own static"
TIMES: dict[str, Any] = {"against": 1}
FULL = "accuracy without early exits, percent"
TO_TRAINED = f"points {TRAINED}; {col.PAIRED}"
COLUMNS = [
    col.word("model", "trained with"),
    col.word("setting", "budget", help="share of full FLOPs it was fitted for"),
    col.seeds(),
    col.spread("full", "full depth", help=FULL),
    col.accuracy(),
    col.field("flops_ratio", "FLOPs", 3, "counted, as a share of own static's"),
    col.field("depth", "depth", 2, "layers run, mean over examples"),
    col.field(
        "retention", "retention", 3, "tokens entering the last executed layer / initial tokens"
    ),
    col.points("gain", "Δ fixed depth", help=GAIN),
    col.points("mix_gain", "Δ best mix", help=MIX),
    col.points("to_trained", "Δ trained static", help=TO_TRAINED),
    col.interval("single", "batch 1", help=f"{OWN}; {REPEATS}", **TIMES),
    col.interval("batch", "batches", help=f"{OWN}, in order of arrival; {REPEATS}", **TIMES),
    *map(col.values, ("num_examples", "split", "weights", "steps", "commit")),
]


class Method:
    """A trained model with an exit rule: a line for each of its budgets, and the same weights at
    fixed depths, by depth. The last depth is the full model.
    """

    def __init__(self, study: Study, name: str, color: str, points: Sequence[Mark]):
        self.name, self.color = name, color
        fixed = [p for p in points if p.row.baseline == FIXED]
        self.fixed = sorted(fixed, key=lambda p: p.row.depth)
        fitted = sorted((p for p in points if p.row.budget), key=lambda p: p.row.budget or 0.0)
        self.lines = [self.line(Entry(study, point)) for point in fitted]

    def line(self, entry: Entry) -> dict[str, Any]:
        same = [p for p in self.fixed if p.row.dtype == entry.point.row.dtype]
        full = same[-1].values("accuracy") if same else []
        return {
            "model": self.name,
            "setting": entry.point.setting,
            "full": [100 * value for value in full],
            "gain": entry.gain,
            "mix_gain": entry.mix_gain,
            "to_trained": entry.to_trained,
            "single": speed_up(entry.point),
            "batch": speed_up(entry.point, "batch_"),
            "point": entry.point,
        }


def methods_of(study: Study, task: str) -> list[Method]:
    """Return one method for each fitted exit rule of each model."""
    points = points_by_name(study, task)
    labels = labels_of(points)
    several = len({name for name, _ in labels}) < len(labels)
    shown = looks(labels.values()) if several else looks_of(study)
    found = []
    for (name, rule), label in labels.items():
        own = [p for p in points[name] if not p.row.budget or rule_in(p) == rule]
        found.append(Method(study, label, shown[label if several else name].color, own))
    return found


def check_against(study: Study) -> None:
    """Raise ConfigError with the available names where `against` is none of them. This is checked
    before the claims, which would draw intervals first.
    """
    every = (labels_of(points_by_name(study, task)) for task in study.tasks)
    names = sorted({label for found in every for label in found.values()})
    if not names:
        raise ConfigError(NEED)
    if study.against not in names:
        known = " or ".join(f'against="{name}"' for name in names)
        raise ConfigError(f"name the method to subtract: {known}, got {study.against!r}")


def points_by_name(study: Study, task: str) -> dict[str, list[Mark]]:
    points = sorted(study.points(task=task), key=lambda p: p.row.budget is None)
    return grouped_by(points, lambda p: study.name_of(p.row))


def labels_of(points: Mapping[str, Sequence[Mark]]) -> dict[tuple[str, Rule], str]:
    """Return a name for each fitted rule, from the model's name and the rule."""
    rules = {
        name: list(dict.fromkeys(rule_in(point) for point in own if point.row.budget))
        for name, own in points.items()
    }
    return {
        (name, rule): ", ".join([name, *words_of(rule, name, rules)])
        for name, own in rules.items()
        for rule in own
    }


def rule_in(point: Mark) -> Rule:
    return point.row.exit.kind, value_text(point.row.exit.arguments.get("layers"))


def words_of(rule: Rule, name: str, rules: Mapping[str, Sequence[Rule]]) -> list[str]:
    """Return the words that distinguish a rule. Its kind is included if kinds vary and the name
    lacks it, and its layers if a model has two rules of one kind.
    """
    (kind, layers), own = rule, rules[name]
    every, same = {k for found in rules.values() for k, _ in found}, [k for k, _ in own].count(kind)
    is_said = kind in name.split(", ") or (len(own) == 1 and kind in USUAL)
    words = [] if len(every) == 1 or is_said else [kind]
    return [*words, f"at {layers}"] if same > 1 else words
