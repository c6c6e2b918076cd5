"""What bf16 weights and int8 products change: accuracy, answers and depth against fp32.

    python -m experiments dtypes study=outputs/frontier

Same weights, same examples, setting by setting: python -m eat_lightning.measure
run=outputs/frontier dtype=int8 timing.enabled=false (and bf16, and fp32).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from statistics import mean

import numpy as np

from eat_lightning.report.claim import Claim, Table
from eat_lightning.report.columns import (
    accuracy,
    field,
    number,
    p_value,
    percent,
    points,
    table,
    values,
    word,
)
from eat_lightning.report.compare import Difference, difference
from eat_lightning.report.setting_table import MCNEMAR, PAIRED
from eat_lightning.report.statistics import Interval, wilson
from eat_lightning.report.study import Measured, Point, Study
from eat_lightning.runs.row import SETTING

POINTS, AGREE = 0.3, 0.99  # what is asked of a dtype: accuracy within, and equal answers at least


class Pair:
    """A setting in some dtype, and in fp32."""

    def __init__(self, study: Study, point: Point, exact: Point):
        self.model, self.point, self.exact = study.name_of(point.row), point, exact
        both = zip(point.members, exact.members, strict=True)
        found = [(a.outcome, b.outcome) for a, b in both]
        self.outcomes = [(a, b) for a, b in found if a is not None and b is not None]

    @cached_property
    def change(self) -> Difference | None:
        return difference(self.point, self.exact)

    def same(self, name: str) -> float | None:
        """Percent of the examples whose `name` (... x B) is the same, mean over seeds."""
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in self.outcomes]
        parts = [np.atleast_2d(a == b).all(0).mean() for a, b in pairs]
        return 100 * float(mean(parts)) if parts else None

    @property
    def agree(self) -> Interval | None:
        shares = [(a.logits_BC.argmax(1) == b.logits_BC.argmax(1)).mean() for a, b in self.outcomes]
        if not shares or self.point.row.metric in ("pearson", "spearman"):
            return None
        n = self.point.row.num_examples
        return wilson(float(mean(shares)) * n, n)


def claim(study: Study) -> Claim:
    """A table for each task that was measured in fp32 and in another dtype."""
    pairs, whole = pairs_of(study), Claim("dtypes", "bf16 and int8 against fp32")
    for task in study.tasks:
        found = [p for p in pairs if p.point.row.task == task]
        whole.add(answers(task, found), [table_of(task, found)])
    whole.notes = [
        "bf16: all weights, vectors and products; norms sum in fp32, and so do scores. int8: "
        "products with weights, a scale for each output channel and for each row of vectors; "
        "embeddings, norms, heads, scores and the attention product in fp32.",
        "An answer is the label given at the exit where an example leaves; who leaves where may "
        "differ between dtypes too.",
    ]
    if any(not pair.outcomes for pair in pairs):
        whole.notes += ["Where examples were not kept there is no agreement: measure them again."]
    return whole.or_lacking(
        "no setting here is measured both in fp32 and in another dtype: python -m "
        "eat_lightning.measure run=outputs/<study> dtype=int8 timing.enabled=false"
    )


def pairs_of(study: Study) -> list[Pair]:
    exact = {key_of(m): m for m in study.measured if m.row.dtype == "fp32"}
    found = []
    for point in study.points():
        twins = [exact.get(key_of(m)) for m in point.members]
        whole = [twin for twin in twins if twin is not None]
        if point.row.dtype != "fp32" and len(whole) == len(twins):
            found.append(Pair(study, point, Point(whole)))
    return found


def key_of(measured: Measured) -> str:
    """All that was measured, but for the dtype."""
    same = [getattr(measured.row, name) for name in SETTING if name != "dtype"]
    return json.dumps(same, sort_keys=True)


COLUMNS = [
    word("model", "model", "model"),
    word("setting", "setting", "point.setting"),
    word("dtype", "dtype", "point.row.dtype"),
    values("seed", "seeds", key="seeds"),
    values("num_examples", "n", "examples", key="n"),
    accuracy(),
    points("against", "Δ fp32", "change", f"points against fp32; {PAIRED}"),
    p_value("p", "change", MCNEMAR),
    percent("agree", "same answer", "agree", "percent of the examples; 95 % Wilson interval", 2),
    number("same_depth", "same depth", lambda p: p.same("depth_B"), 2, "percent of the examples"),
    number(
        "same_tokens",
        "same tokens",
        lambda p: p.same("tokens_LB"),
        2,
        "percent of the examples that have as many in each layer",
    ),
    field("depth", "depth", 2, "layers run, mean"),
    number("depth_fp32", "in fp32", lambda p: p.exact.mean("depth"), 2, "layers run, mean"),
    *map(values, ("split", "device", "commit")),
]


def table_of(task: str, pairs: list[Pair]) -> Table:
    title = f"Against fp32 on {task}"
    caption = (
        "The same weights on the same examples; bold where the interval says that it is better."
    )
    return table(f"dtypes-{task}", title, caption, COLUMNS, pairs)


def answers(task: str, pairs: list[Pair]) -> Iterator[str]:
    """For each model and dtype the worst of its settings, and whether it is what is asked."""
    for model, dtype in dict.fromkeys((p.model, p.point.row.dtype) for p in pairs):
        own = [p for p in pairs if (p.model, p.point.row.dtype) == (model, dtype)]
        changes = [p.change.points for p in own if p.change is not None]
        agree = [p.agree.value for p in own if p.agree is not None]
        if not changes or not agree:
            continue
        good = max(map(abs, changes)) <= POINTS and min(agree) >= AGREE
        yield (
            f"{task}, {model}, {dtype}: {min(changes):+.2f} to {max(changes):+.2f} points against "
            f"fp32, {100 * min(agree):.2f} % of the answers or more are the same, "
            f"{len(own)} setting{'s' * (len(own) > 1)}; within {POINTS} points and "
            f"{100 * AGREE:.0f} %: {'yes' if good else 'no'}."
        )
