"""Exits, cascades and their times beside each other."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import finished

from eat_lightning.errors import ConfigError
from eat_lightning.report.result import Result
from experiments.pays.models import open_model
from experiments.pays.plane import beside, judged
from experiments.pays.systems import Judged, models_agree
from experiments.pays.tables import no_slower
from experiments.pays.targets import DEARER, MET, MISSED, Target
from experiments.pays.timing import Wanted, timed


class Answering:
    """A model that answers `classes` for as many examples, at a cost of its own for each."""

    last, layers, task, data, seed = 4, [4], "mnli", "", 1

    def __init__(self, name: str, classes: list[int], cost: float):
        self.name, self.classes, self.cost = name, classes, cost
        self.dev = self.cut = SimpleNamespace(labels=np.array([0, 0, 0, 0]))

    def full_cost(self, of: Any) -> np.ndarray:
        return np.full(4, self.cost)

    def full_answers(self, of: Any) -> np.ndarray:
        return np.array(self.classes)


def test_an_ensemble_answers_where_all_its_models_name_one_class():
    """The third and the fourth example go on, and cost 2 + 10."""
    small: list[Any] = [Answering("a", [0, 1, 0, 2], 1.0), Answering("b", [0, 1, 1, 0], 1.0)]
    big: Any = Answering("big", [2, 2, 2, 0], 10.0)
    system = models_agree(small, big)
    (point,) = system.points
    assert (system.name, system.kind) == ("a + b > big", "cascade by agreement")
    assert point.answer_B.tolist() == [0, 1, 2, 0]
    assert point.cost_B.tolist() == [2, 2, 12, 12]


def test_a_name_that_no_run_has_is_refused():
    models: list[Any] = [Answering("a", [0] * 4, 4.0), Answering("big", [0] * 4, 10.0)]
    with pytest.raises(ConfigError, match="runs must name 'c', got a, big"):
        judged(models, ["c"])


def test_a_point_stands_beside_exits_of_the_same_cost_asked_for_or_of_no_more():
    points = [Judged(f"cost {x}", np.array([x]), np.array([0]), x) for x in (0.3, 0.5)]
    asked = Judged("cost 0.5", np.array([0.9]), np.array([0]), 0.5)
    unasked = Judged("2 models agree", np.array([0.4]), np.array([0]))
    assert beside(asked, points) is points[1]
    assert beside(unasked, points) is points[0]


@pytest.mark.parametrize(
    ("fell", "spent", "verdict"), [(0.3, 0.5, MET), (0.3, 0.51, DEARER), (0.31, 0.5, MISSED)]
)
def test_a_target_is_not_met_at_a_higher_cost(fell: float, spent: float, verdict: str):
    assert Target("sst2", 12, 0.5, 0.3).verdict(fell, spent) == verdict


def line(system: str, kind: str, ms: float, accuracy: float) -> Result:
    values = {"latency_ms": ms, "accuracy": accuracy}
    return Result({"layers": 12, "system": system, "kind": kind}, values)


def test_the_most_accurate_exits_that_take_no_longer_than_the_student():
    fast, level = line("MPNet", "exits", 30, 80.5), line("MPNet", "exits", 40, 81)
    slow, student = line("MPNet", "exits", 40.1, 83), line("MPNet, 6 layers", "static", 40, 80)
    assert no_slower([fast, level, slow, student]) is level
    assert no_slower([slow, student]) is None


@pytest.mark.slow
def test_budgets_and_milliseconds_are_timed_by_turns(tmp_path: Path):
    """Whatever they take: a time that nobody needs is full depth."""
    data = {"num_validation": 64, "calibration": 150, "max_length": None}
    run = finished.finish(tmp_path / "run", finished.tiny_for("mnli", "confidence"), "mnli", data)
    models = [open_model("tiny", str(run), tmp_path / "records")]
    models[0].run.config["seed"] = 1
    lines = [*timed(models, Wanted(budgets=[0.8], ms=[1e6], examples=6))]
    settings = [(found["kind"], found["setting"]) for found in lines]
    assert settings == [("static", "every layer"), ("exits", "1e+06 ms"), ("exits", "cost 0.8")]
    static, by_clock, _ = lines
    assert by_clock["accuracy"] == static["accuracy"]
    assert by_clock["over tiny"].value == 0.0
    assert all(found["latency_ms"] > 0 and found["examples"] == 6 for found in lines)
