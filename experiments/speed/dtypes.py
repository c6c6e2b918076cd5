"""bf16 and int8 against fp32: the same weights on the same examples, setting by setting."""

from __future__ import annotations

import json
from collections.abc import Iterator

from eat_lightning.files import as_dict
from eat_lightning.report.difference import difference
from eat_lightning.report.result import Result
from eat_lightning.report.study import KeptRow, Mark, Study
from eat_lightning.runs.row import SETTING


def dtype_results(study: Study) -> list[Result]:
    """A result for each setting in another dtype that was measured in fp32 too, with its examples:
    accuracy, and how many answers and depths are those of fp32."""
    exact = {key_of(m): m for m in study.measured if m.row.dtype == "fp32"}
    found = [(m, exact[key_of(m)]) for m in study.measured if key_of(m) in exact]
    return [*pairs_of((m, twin) for m, twin in found if m.row.dtype != "fp32")]


def key_of(measured: KeptRow) -> str:
    """All that was measured, except for the dtype."""
    same = [getattr(measured.row, name) for name in SETTING if name != "dtype"]
    return json.dumps(same, sort_keys=True, default=as_dict)


def pairs_of(pairs: Iterator[tuple[KeptRow, KeptRow]]) -> Iterator[Result]:
    for m, twin in pairs:
        against = difference(Mark([m]), Mark([twin]))
        if m.outcome is None or twin.outcome is None or against is None or not against.interval:
            continue
        answers_B = m.outcome.logits_BC.argmax(1) == twin.outcome.logits_BC.argmax(1)
        what = {"kind": "dtype", "task": m.row.task, "model": m.row.model, "seed": m.row.seed}
        what |= {"setting": m.row.title, "dtype": m.row.dtype}
        values = {
            "n": m.row.num_examples,
            "accuracy": 100 * (m.row.accuracy or 0.0),
            "points": against.interval,
            "p": against.p[0],
            "same": int(answers_B.sum()),
            "same_depth": 100 * float((m.outcome.depth_B == twin.outcome.depth_B).mean()),
            "depth": m.row.depth,
            "depth_fp32": twin.row.depth,
        }
        yield Result(what, values)
