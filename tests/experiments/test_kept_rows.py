"""Kept rows and examples of the studies are read by today's code, and nothing of them is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from eat_lightning.files import as_dict
from eat_lightning.record.record import Record
from eat_lightning.runs import jsonl
from eat_lightning.runs.row import Row
from experiments.adapt.chosen import ChosenRow
from experiments.adapt.rows import AdaptRow
from experiments.attack.rows import AttackRow
from experiments.bench.rows import BenchRow
from experiments.budgets.rules import RuleRow
from experiments.calibration.seen import SeenRow
from experiments.drift.trials import Trial
from experiments.lists.__main__ import ListRow
from experiments.lists.measured import ListRow as MeasuredListRow
from experiments.long_texts.scan import ScanRow
from experiments.one_pass.__main__ import Tried
from experiments.plane.rows import PlaneRow, TimedRow
from experiments.scaling.rows import ScalingRow
from experiments.serving.routes import RouteRow
from experiments.serving.rows import LoadRow

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
KINDS: list[type[Any]] = [
    Row,
    AdaptRow,
    ChosenRow,
    AttackRow,
    BenchRow,
    Trial,
    PlaneRow,
    TimedRow,
    ScalingRow,
    ListRow,
    Tried,
    RuleRow,
    SeenRow,
    LoadRow,
    RouteRow,
    ScanRow,
    MeasuredListRow,
]
ANOTHER_FORM = {  # of one script each
    "budgets/dial/rows.jsonl",
    "budgets/dial/cut.jsonl",
    "bodies/results/scores.jsonl",
    "long_texts/results/rows.jsonl",
}


def test_kept_lines_are_read_and_stay_equal():
    """A line is a record of one kind, and holds no value that the record lacks or changes."""
    paths = [p for p in EXPERIMENTS.rglob("*.jsonl") if name_of(p) not in ANOTHER_FORM]
    assert len(paths) > 30
    unread = {name_of(path): fault for path in paths if (fault := fault_of(path))}
    assert unread == {}


def name_of(path: Path) -> str:
    return path.relative_to(EXPERIMENTS).as_posix()


def fault_of(path: Path) -> str:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kind = next((kind for kind in KINDS if lines[0].keys() <= kind.__annotations__.keys()), Row)
    records, faults = jsonl.read_whole(path, kind)
    changed = [
        key
        for line, record in zip(lines, records, strict=not faults)
        for key, value in line.items()
        if json.loads(json.dumps(getattr(record, key), default=as_dict)) != value
    ]
    return faults[0] if faults else ", ".join(sorted(set(changed)))


@pytest.mark.slow
def test_kept_examples_are_as_many_as_their_row_says():
    wrong = []
    for path in EXPERIMENTS.rglob("rows.jsonl"):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        sizes = {row.get("examples", ""): row.get("num_examples") for row in rows}
        for name, num_examples in sizes.items():
            file = path.parent / name
            if name and len(Record.read(file)) != num_examples:
                wrong.append(name_of(file))
    assert wrong == []
