"""Names of a study's models, and the fields that rows of one setting share across seeds.

A model's name is its `model`, and whatever distinguishes it from others of that name: its backbone,
its methods, its training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eat_lightning.files import as_dict
from eat_lightning.model.specification import Specification, rule_learns, value_text
from eat_lightning.runs.row import FIXED, Row, class_here, label

# Kinds that go without saying.
USUAL = ("none", "dense", "pooled", "joint", "anneal", "confidence", "")
SLOTS = ("attention", "reduction", "head", "objective", "schedule", "exit")
# What rows that are averaged over seeds have in common, beside their method's name and exit rule.
BACKBONE = ("task", "model", "encoder", "num_layers")
METHODS = ("attention", "reduction", "head", "objective", "schedule", "policy")
MEASURED = ("split", "baseline", "kernels", "dtype", "form", "device", "threads", "machine")
SAME_POINT = BACKBONE + METHODS + MEASURED


@dataclass(frozen=True)
class RowMethod:
    """The method of a row, regardless of exit rule, seed and weight layout. An exit rule without
    learned parameters is not part of what was trained.

    Args:
        encoder: the backbone, without its seed.
        reduction: of the run.
        exit: of the run.
    """

    row: Row
    encoder: str
    heads: str
    reduction: Specification
    exit: Specification

    @property
    def model(self) -> tuple[str, str]:
        return self.row.task, self.row.model

    @property
    def backbone(self) -> tuple[str, int]:
        return self.encoder, self.row.num_layers

    @property
    def key(self) -> str:
        named = [self.backbone, self.heads, *map(self.slot, SLOTS)]
        return json.dumps(named, sort_keys=True, default=as_dict)

    def slot(self, name: str) -> Specification:
        """The method of a slot, with an empty kind where the row names none."""
        of_run = {"exit": self.exit, "reduction": self.reduction}
        return of_run.get(name) or getattr(self.row, name) or Specification(name, "")


def by_run(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Group rows by the study and name of their run, in order of first appearance."""
    runs: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        runs.setdefault((row.study, row.run), []).append(row)
    return runs


def names_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return the name of each row, by `Row.setting`. Baselines have the name of their run."""
    runs, backbones = by_run(rows), backbones_of(rows)
    methods = {
        row.setting: method_of(row, runs[row.study, row.run], backbones[row.encoder])
        for row in rows
    }
    models: dict[tuple[str, str], dict[str, RowMethod]] = {}
    for method in methods.values():
        models.setdefault(method.model, {})[method.key] = method
    names = {
        (model, key): name_of(method, list(by_key.values()))
        for model, by_key in models.items()
        for key, method in by_key.items()
    }
    return {setting: names[m.model, m.key] for setting, m in methods.items()}


def backbones_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return a name for each backbone: the one that seeds share, unless two backbones of one seed
    would then have the same name.
    """
    alike: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        alike.setdefault((without_seed(row), row.seed), set()).add(row.encoder)
    return {
        row.encoder: row.encoder if len(alike[name, row.seed]) > 1 else name
        for row in rows
        for name in [without_seed(row)]
    }


def without_seed(row: Row) -> str:
    """Return a row's backbone. If its name contains the row's own seed (heads alone, on a tuned
    model), seed and digest are removed.
    """
    found = re.fullmatch(rf"(.+)-s{row.seed}-(.+)-[0-9a-f]{{8}}", row.encoder)
    return f"{found[1]}-{found[2]}" if found else row.encoder


def titles_of(rows: Sequence[Row]) -> list[str]:
    """Return a title for each row's setting. The kind of exit rule is added where its run was
    measured under several kinds, because their thresholds may share a name.
    """
    kinds: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if not row.baseline and label(row.exit) != row.exit.kind:
            kinds.setdefault((row.study, row.run), set()).add(row.exit.kind)
    titles = []
    for row in rows:
        kind, of_run = row.exit.kind, kinds.get((row.study, row.run), ())
        is_clear = len(of_run) < 2 or row.baseline or row.title.startswith(kind)
        titles.append(row.title if is_clear else f"{kind}, {row.title}")
    return titles


def method_of(row: Row, run: Sequence[Row], encoder: str) -> RowMethod:
    first = next((r for r in run if not r.baseline), row)
    first = first if row.baseline not in ("", FIXED) else row
    kinds = sorted({r.exit.kind for r in run})
    learned = (kind for kind in kinds if rule_learns(class_here("exit", kind)))
    return RowMethod(
        first,
        encoder,
        heads_of(first),
        reduction_of(first, run),
        Specification("exit", next(learned, "")),
    )


def reduction_of(row: Row, run: Sequence[Row]) -> Specification:
    """Return the reduction that names the row. A fit for a budget may have changed its strength;
    fitted rows are named like the run's other rows.
    """
    kept = [r.reduction for r in run if not r.fitted]
    same = [method for method in kept if method.kind == row.reduction.kind]
    return row.reduction if not row.fitted or not same or row.reduction in same else same[0]


def heads_of(row: Row) -> str:
    """Return the positions of a run's heads, such as "4/6". They affect training under any exit
    rule.
    """
    return "/".join(sorted(row.temperature, key=int))


def name_of(method: RowMethod, every: Sequence[RowMethod]) -> str:
    """Name a method by its kinds, with settings where the kinds are not distinctive."""
    words = words_of(method, every)
    alike = [other for other in every if words_of(other, every) == words]
    return ", ".join([*words, *settings_of(method, alike)])


def words_of(method: RowMethod, every: Sequence[RowMethod]) -> list[str]:
    words, backbones = [method.row.model], {other.backbone for other in every}
    if len(backbones) > 1:
        by_layers = len({num_layers for _, num_layers in backbones}) == len(backbones)
        words.append(f"{method.row.num_layers} layers" if by_layers else method.encoder)
    for slot in SLOTS:
        kind = method.slot(slot).kind
        if len({other.slot(slot).kind for other in every}) > 1 and kind not in USUAL:
            words.append(kind)
    return words


def settings_of(method: RowMethod, alike: Sequence[RowMethod]) -> list[str]:
    """List the settings that differ among methods of the same kinds: "ratio 0.3", "heads 4/6"."""
    words = [
        f"{name} {value_text(value)}"
        for slot in SLOTS
        for name, value in method.slot(slot).arguments.items()
        if any(other.slot(slot).arguments.get(name) != value for other in alike)
    ]
    if any(other.heads != method.heads for other in alike):
        words.append(f"heads {method.heads}" if "/" in method.heads else "no exits")
    return words


def budget_of(row: Row) -> str:
    """Name the budget of a fitted exit rule: "budget 0.5", "budget 12 ms", "agree 0.99", or ""."""
    if row.budget is not None:
        return f"budget {row.budget:g}"
    if row.agree is not None:
        return f"agree {row.agree:g}"
    return "" if row.budget_ms is None else f"budget {row.budget_ms:g} ms"


def rule_of(row: Row) -> Specification:
    """Return the part of a row's exit rule that seeds share. Thresholds fitted for a budget differ
    between seeds and are replaced by the budget.
    """
    if not budget_of(row):
        return row.exit
    return row.exit.without(row.knob).changed({"budget": budget_of(row)})


def same_point(row: Row) -> list[Any]:
    """Return the values that seeds share, except the name and the rule. A reduction fitted for a
    budget is reduced to its kind, because its strength differs between seeds.
    """
    moved = {"encoder": without_seed(row)}
    if row.fitted:
        moved["reduction"] = row.reduction.kind
    return [moved.get(name, getattr(row, name)) for name in SAME_POINT]


def seed_of(row: Row) -> tuple[Any, ...]:
    """Key of one training: seed, lr, steps, data, teacher."""
    return row.seed, row.lr, row.steps, row.num_train_examples, row.teacher


def run_in(row: Row) -> str:
    return f"{row.study}/{row.run}"


def doubled_by(row: Row, kept: Row) -> str:
    old, new = run_in(row), run_in(kept)
    if old == new:
        setting = " at ".join(filter(None, (row.exit.kind, budget_of(row))))
        return f"{new}: the later of two rows of {setting} is used"
    return f"{old} and {new} have the same seed and setting: {new} is used"
