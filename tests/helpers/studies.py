"""Small studies with numbers that one can compute by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.machine import version_of
from eat_lightning.methods.exit.never import Never
from eat_lightning.record.record import Record
from eat_lightning.report.__main__ import claim_of, found_claims
from eat_lightning.report.section import Section
from eat_lightning.report.study import open_study
from eat_lightning.report.table import Line, Table
from eat_lightning.runs.row import Row, write

STUDIES = Path(__file__).parents[2] / "experiments"
STATIC = {
    "attention": {"kind": "dense"},
    "reduction": {"kind": "none"},
    "exit": {"kind": "never"},
}
EAT = {
    "attention": {"kind": "dense"},
    "reduction": {"kind": "norm_topk", "ratio": 0.3, "layers": [2, 4]},
    "exit": {"kind": "confidence", "tau": 0.9, "layers": [4]},
    "knob": "tau",
    "point": 0.9,
}


def make_row(**fields: Any) -> Row:
    """A row of a static run on SST-2, with these fields changed."""
    row: dict[str, Any] = {
        **{"task": "sst2", "model": "minilm", "encoder": "minilm-l6", "study": "s", "run": "r"},
        **{"seed": 1, "split": "validation", "num_examples": 8, "metric": "accuracy"},
        **{"num_layers": 6, "depth": 6.0, "retention": 1.0, "token_layers": 1.0},
        **{"exit_shares": {"6": 1.0}, "flops": 100.0, "flops_ratio": 1.0, "strength": 1.0},
        **{"accuracy": 0.75, "majority": 0.5, "version": version_of("eat_lightning")},
        **{"commit": "abc", "machine": "m", "created": "2026-01-01T00:00:00+00:00"},
    }
    return Row(**(row | STATIC | fields))


def make_recorded(correct_EB: list[list[int]], layers: list[int], num_layers: int = 6) -> Record:
    """Two classes, every label 1; a guess of 1 is right and sure (0.95), one of 0 wrong and unsure
    (0.6 for class 0)."""
    sure, unsure = np.log([0.05, 0.95]), np.log([0.6, 0.4])
    guesses = {
        layer: np.array([sure if right else unsure for right in correct_B], np.float32)
        for layer, correct_B in zip(layers, correct_EB, strict=True)
    }
    num_examples = len(correct_EB[0])
    tokens_LB = np.full((num_layers, num_examples), 10)
    labels = np.ones(num_examples, np.int64)
    return Record(labels, np.full(num_examples, 10), guesses, tokens_LB, Never())


def keep(folder: Path, rows: list[Row], recorded: Record | None = None, finished=True) -> Path:
    """A run's folder with these rows, and the examples that they name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("task: {name: sst2}\nstudy: s\n")
    if finished:
        (folder / "done.json").write_text(json.dumps({"score": 0.5}))
    if rows:
        write(folder / "rows.jsonl", rows)
    for name in {row.examples for row in rows} - {""}:
        assert recorded is not None
        recorded.to_parquet(folder / name)
    return folder


def claim_in(name: str, folder: Path) -> Section:
    """What one of our own claims says of the runs in a folder."""
    path = found_claims().get(name, STUDIES / name / "claim.py")
    return claim_of(path)(open_study([str(folder)]))


def line_of(table: Table, **texts: str) -> Line:
    """The line whose cells have these texts."""
    (only,) = (x for x in table.lines if all(x.cell(k).text == v for k, v in texts.items()))
    return only
