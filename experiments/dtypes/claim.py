"""Effects of bf16 weights and int8 products: accuracy, answers and depth against fp32.

    python -m experiments dtypes study=outputs/frontier

Same weights, same examples, setting by setting: python -m eat_lightning.measure
run=outputs/frontier dtype=int8 timing.enabled=false (and bf16, and fp32).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from eat_lightning.files import as_dict
from eat_lightning.report import columns as col
from eat_lightning.report.claim import Claim
from eat_lightning.report.difference import difference
from eat_lightning.report.intervals import wilson
from eat_lightning.report.study import Measured, Point, Study
from eat_lightning.report.table import Table
from eat_lightning.runs.row import SETTING

Line = dict[str, Any]
POINTS, AGREE = 0.3, 0.99  # what is asked of a dtype: accuracy within, and equal answers at least
OF_EXAMPLES = "percent of the examples"
AGREED = f"{OF_EXAMPLES}; 95 % Wilson interval"
TOKENS = f"{OF_EXAMPLES} that have as many in each layer"
COLUMNS = [
    col.word("model", "model"),
    col.word("setting", "setting", "point.title"),
    col.word("dtype", "dtype", "point.row.dtype"),
    col.seeds(),
    col.values("num_examples", "n", "examples", key="n"),
    col.accuracy(),
    col.points("against", "Δ fp32", help=f"points against fp32; {col.PAIRED}"),
    col.p_value("p", "against", col.MCNEMAR),
    col.percent("agree", "same answer", help=AGREED, digits=2),
    col.number("same_depth", "same depth", help=OF_EXAMPLES),
    col.number("same_tokens", "same tokens", help=TOKENS),
    col.field("depth", "depth", 2, "layers run, mean"),
    col.number("depth_fp32", "in fp32", help="layers run, mean"),
    *map(col.values, ("split", "device", "commit")),
]


def claim(study: Study) -> Claim:
    """A table for each task that was measured in fp32 and in another dtype."""
    lines, whole = lines_of(study), Claim("dtypes", "bf16 and int8 against fp32")
    for task in study.tasks:
        found = [line for line in lines if line["point"].row.task == task]
        whole.add(answers(task, found), [table_of(task, found)])
    whole.notes = [
        "bf16: all weights, vectors and products; norms sum in fp32, and so do scores. int8: "
        "products with weights, a scale for each output channel and for each row of vectors; "
        "embeddings, norms, heads, scores and the attention product in fp32.",
        "An answer is the label given at the exit where an example leaves; who leaves where may "
        "differ between dtypes too.",
    ]
    if any(line["same_depth"] is None for line in lines):
        whole.notes += ["Where examples were not kept there is no agreement: measure them again."]
    return whole.or_lacking(
        "no setting here is measured both in fp32 and in another dtype: python -m "
        "eat_lightning.measure run=outputs/<study> dtype=int8 timing.enabled=false"
    )


def lines_of(study: Study) -> list[Line]:
    """Settings in some dtype whose every seed was measured in fp32 too."""
    exact = {key_of(m): m for m in study.measured if m.row.dtype == "fp32"}
    found = []
    for point in study.points():
        twins = [exact[key_of(m)] for m in point.members if key_of(m) in exact]
        if point.row.dtype != "fp32" and len(twins) == len(point.members):
            found.append(line_of(study.name_of(point.row), point, Point(twins)))
    return found


def key_of(measured: Measured) -> str:
    """All that was measured, but for the dtype."""
    same = [getattr(measured.row, name) for name in SETTING if name != "dtype"]
    return json.dumps(same, sort_keys=True, default=as_dict)


def line_of(model: str, point: Point, exact: Point) -> Line:
    """A setting beside the same in fp32; means over the seeds whose examples are at hand."""
    both = zip(point.members, exact.members, strict=True)
    outcomes = [(a.outcome, b.outcome) for a, b in both if a.outcome and b.outcome]
    depth = [(a.depth_B == b.depth_B).mean() for a, b in outcomes]
    tokens = [(a.tokens_LB == b.tokens_LB).all(0).mean() for a, b in outcomes]
    answers = [(a.logits_BC.argmax(1) == b.logits_BC.argmax(1)).mean() for a, b in outcomes]
    n, classes = point.row.num_examples, point.row.metric not in ("pearson", "spearman")
    return {
        "model": model,
        "point": point,
        "against": difference(point, exact),
        "agree": wilson(float(mean(answers)) * n, n) if answers and classes else None,
        "same_depth": 100 * float(mean(depth)) if depth else None,
        "same_tokens": 100 * float(mean(tokens)) if tokens else None,
        "depth_fp32": exact.mean("depth"),
    }


def table_of(task: str, lines: Sequence[Line]) -> Table:
    caption = (
        "The same weights on the same examples; bold where the interval says that it is better."
    )
    return col.table(f"dtypes-{task}", f"Against fp32 on {task}", caption, COLUMNS, lines)


def answers(task: str, lines: Sequence[Line]) -> Iterator[str]:
    """For each model and dtype the worst of its settings, and whether it is what is asked."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["model"], line["point"].row.dtype), []).append(line)
    for (model, dtype), own in groups.items():
        changes = [line["against"].points for line in own if line["against"]]
        agree = [line["agree"].value for line in own if line["agree"]]
        if not changes or not agree:
            continue
        good = max(map(abs, changes)) <= POINTS and min(agree) >= AGREE
        yield (
            f"{task}, {model}, {dtype}: {min(changes):+.2f} to {max(changes):+.2f} points against "
            f"fp32, {100 * min(agree):.2f} % of the answers or more are the same, "
            f"{len(own)} setting{'s' * (len(own) > 1)}; within {POINTS} points and "
            f"{100 * AGREE:.0f} %: {'yes' if good else 'no'}."
        )
