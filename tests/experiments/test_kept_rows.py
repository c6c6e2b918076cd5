"""Kept rows and examples of the studies are read by today's code, and nothing of them is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from eat_lightning.files import as_dict
from eat_lightning.infer.recorded import Recorded
from eat_lightning.report.result import Result
from eat_lightning.runs import jsonl
from eat_lightning.runs.row import Row

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
# Studies whose page is made of their rows: these hold rows of runs and results, and nothing else.
STUDIES = [p.parent for p in EXPERIMENTS.glob("*/claim.py") if "def page(" in p.read_text("utf-8")]


@pytest.mark.parametrize("study", STUDIES, ids=lambda folder: folder.name)
def test_kept_lines_are_read_and_stay_equal(study: Path):
    """A line is a row or a result, and holds no value that the record lacks or changes."""
    paths = sorted((study / "results").rglob("*.jsonl"))
    assert paths
    assert {path.name: fault for path in paths if (fault := fault_of(path))} == {}


def fault_of(path: Path) -> str:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kind: type[Any] = Result if "what" in lines[0] else Row
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
            if name and len(Recorded.read(file)) != num_examples:
                wrong.append(path.relative_to(EXPERIMENTS).as_posix())
    assert wrong == []
