"""The plane's rows of times stand beside their accuracy."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import finished
import numpy as np
import pytest
from pandas import DataFrame

from eat_lightning.errors import ConfigError
from eat_lightning.runs import jsonl
from experiments.plane.__main__ import Extras
from experiments.plane.models import open_model
from experiments.plane.rows import Plane, PlaneRow, TimedRow, times_path
from experiments.plane.show import report, times_table
from experiments.plane.systems import models_agree
from experiments.plane.timing import Wanted, timed_rows

ABOUT = {"task": "mnli", "data": "", "system": "big", "num_cut": 8, "crossed": False, "commit": ""}


def row(kind: str, setting: str, asked: float | None, share: float, right: int) -> PlaneRow:
    judged = {"accuracy": 25.0 * right, "low": 0.0, "high": 100.0, "unchanged": 100.0}
    judged |= {"share": share, "gflops": 4 * share, "num_examples": 4, "runs": ["a"]}
    return PlaneRow(kind=kind, setting=setting, asked=asked, **ABOUT, **judged)


def timed(kind: str, asked: float | None, ms: float, factor: float) -> TimedRow:
    factors = [factor, factor - 0.1, factor + 0.1]
    return TimedRow("big", kind, asked, ms, ms / 2, factors, factors, 1.0, 320, "", "here", "")


def test_times_stand_beside_their_accuracy(tmp_path: Path):
    rows = [row("static", "layer 4", None, 1.0, 4), row("exits", "cost 0.5", 0.5, 0.5, 3)]
    right = DataFrame({rows[0].key: [1, 1, 1, 1], rows[1].key: [1, 1, 1, 0]}).astype(bool)
    Plane(rows, right).write(tmp_path)
    assert Plane.read(tmp_path, "mnli").times == []
    path = times_path(tmp_path, "mnli")
    path.parent.mkdir()
    jsonl.write(path, [timed("exits", 0.5, 20.0, 2.0), timed("static", None, 40.0, 1.0)])
    plane = Plane.read(tmp_path, "mnli")
    shown = times_table(plane)[["kind", "asked", "accuracy", "ms", "times as fast"]]
    assert shown.to_numpy().tolist() == [
        ["static", "", "100.00", "40.00", "1.00 (0.90 to 1.10)"],
        ["exits", "0.5", "75.00", "20.00", "2.00 (1.90 to 2.10)"],
    ]
    told = report(plane, tmp_path)
    assert "| big | exits | 0.5 | 75.00 | 20.00 |" in told
    assert "](mnli-times.svg)" in told
    assert "in batches of 32" in (tmp_path / "mnli-times.svg").read_text("utf-8")
    assert [path.stem for path in tmp_path.glob("*.jsonl")] == ["mnli"]  # a task's rows alone


def test_budgets_and_milliseconds_are_timed_by_turns(tmp_path: Path):
    """Whatever they take: a time that nobody needs is full depth."""
    data = {"num_validation": 64, "calibration": 150, "max_length": None}
    run = finished.finish(tmp_path / "run", finished.tiny_for("mnli", "confidence"), "mnli", data)
    models = [open_model("tiny", run, tmp_path / "records")]
    rows = timed_rows(models, Wanted(budgets=[0.8], ms=[1e6]), examples=6)
    assert [(row.kind, row.asked, row.asked_ms) for row in rows] == [
        ("static", None, None),
        ("exits", None, 1e6),
        ("exits", 0.8, None),
    ]
    static, by_clock, _ = rows
    assert by_clock.accuracy == static.accuracy
    assert by_clock.above == {"tiny": [0.0, 0.0, 0.0]}
    assert all(row.latency_ms > 0 and row.examples == 6 for row in rows)


class Answering:
    """A model that answers `classes` for as many examples, at a cost of its own for each."""

    last, layers, run, task, data = 4, [4], "a", "mnli", ""

    def __init__(self, name: str, classes: list[int], cost: float):
        self.name, self.cost = name, cost
        guess_BC = np.eye(3)[classes]
        self.dev = SimpleNamespace(guesses={4: guess_BC}, labels=np.array([0, 0, 0, 0]))
        self.cut = self.dev

    def fixed_cost(self, of: Any, layer: int) -> np.ndarray:
        return np.full(4, self.cost)


def test_an_ensemble_answers_where_all_its_models_name_one_class():
    """The third and the fourth example go on, and cost 2 + 10."""
    small = [Answering("a", [0, 1, 0, 2], 1.0), Answering("b", [0, 1, 1, 0], 1.0)]
    big = Answering("big", [2, 2, 2, 0], 10.0)
    system = models_agree(small, big)
    (point,) = system.points
    assert (system.name, system.kind) == ("a + b > big", "cascade by agreement")
    assert point.answer_B.tolist() == [0, 1, 2, 0]
    assert point.cost_B.tolist() == [2, 2, 12, 12]


@pytest.mark.parametrize(
    ("extras", "said"),
    [
        ({"gatekeeper": True}, "gatekeeper must be a list of names, got True"),
        ({"ensembles": ["ab"]}, "ensembles must be lists of names, got ['ab']"),
        ({"gatekeeper": ["c"]}, "runs must name 'c', got a, b, big"),
        ({"ensembles": [["a", "b"]]}, r"['a', 'b'] must cost below 0.6 of big, got 0.80"),
    ],
)
def test_extras_that_cannot_be_are_refused(extras: dict[str, Any], said: str):
    models = [Answering("a", [0] * 4, 4), Answering("b", [0] * 4, 4), Answering("big", [0] * 4, 10)]
    with pytest.raises(ConfigError, match=re.escape(said)):
        Extras(**extras).check(models, models[-1])
