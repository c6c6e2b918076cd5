"""A dial: made from a record by hand, looked up by budget and by agreement, kept as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim, Tally
from eat_lightning.record.dial import Budget, Dial, along, best_of
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record


def at(tau: float) -> Point:
    return Point(methods={"exit": Specification("exit", "confidence", {"tau": tau, "layers": [1]})})


def recorded() -> Record:
    """Four texts, two layers. Exit 1 is sure of 0.9, 0.8, 0.7 and 0.6, and wrong of the second."""
    first = np.log([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]).astype(np.float32)
    last = np.log([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]]).astype(np.float32)
    tokens_LB = np.full((2, 4), 3)
    labels = np.array([0, 1, 1, 0])
    return Record(labels, tokens_LB[0], {1: first, 2: last}, tokens_LB, Confidence(1.0, [1]))


def layers(_: Point, trace: Trace) -> float:
    return float(trace.depth_B.mean())


def test_measured_by_hand():
    """At 0.75 two leave, of which one is changed, and was right at full depth."""
    found = Measured.of(at(0.75), recorded(), layers)
    assert (found.cost, found.depth) == (1.5, 1.5)
    assert (found.agreement, found.accuracy) == (0.75, 0.5)
    full = Measured.of(at(1.0), recorded(), layers)
    assert (full.agreement, full.accuracy) == (1.0, 0.75)


def test_a_dial_has_the_points_that_cost_less_than_all_before():
    points = [at(tau) for tau in (1.0, 0.85, 0.95, 0.84, 0.5)]
    found = [*along(points, recorded(), layers, full_cost=1.9)]
    assert [each.point for each in found] == [points[0], points[1], points[4]]
    assert [each.cost for each in found] == [1.9, 1.75, 1.0]


def test_a_list_agrees_by_its_best():
    """Behind layer 1 one of two goes on; the wanted one stands second there."""
    scores = {1: np.array([[1.0], [2.0], [1.0], [2.0]]), 2: np.array([[2.0], [1.0], [1.0], [2.0]])}
    tokens_LB = np.full((2, 4), 3)
    record = Record(scores[2][:, 0], tokens_LB[0], scores, tokens_LB, Confidence(1.0, [1]))
    record = replace(record, group_B=np.array([0, 0, 1, 1]), keep=1)
    found = Measured.of(Point(counts={1: 1}), record, layers)
    assert (found.agreement, found.cost) == (0.5, 1.5)


def test_of_several_dials_the_best_points_are_taken():
    """The cheapest that agrees so often, from the dearest."""
    pairs = [(1.0, 1.0), (0.8, 0.9), (0.7, 0.95), (0.5, 0.9), (0.5, 0.8)]
    points = [Measured(at(0.5), cost=cost, agreement=agree) for cost, agree in pairs]
    assert [(p.cost, p.agreement) for p in best_of(points)] == [(1.0, 1.0), (0.7, 0.95), (0.5, 0.9)]


def point(cost: float, agreement: float) -> Measured:
    return Measured(at(1 - cost), cost=cost, accuracy=0.9, agreement=agreement)


POINTS = [point(1.0, 1.0), point(0.8, 0.99), point(0.6, 0.97), point(0.4, 0.98), point(0.3, 0.9)]


@pytest.mark.parametrize(
    ("wanted", "cost"),
    [
        (Budget(1), 1.0),
        (Budget(0.8), 0.8),
        (Budget(0.79), 0.6),
        (Budget(0.3), 0.3),
        (Budget(1.0, "agree"), 1.0),
        (Budget(0.99, "agree"), 0.8),
        (Budget(0.975, "agree"), 0.8),  # 0.4 agrees too, yet by luck: 0.6 does not
        (Budget(0.5, "agree"), 0.3),
    ],
)
def test_a_budget_and_an_agreement_look_up_in_one_dial(wanted: Budget, cost: float):
    dial = Dial("share", POINTS, 100, {})
    assert dial.at(wanted).cost == cost
    assert dial.down_to(wanted)[0] == POINTS[0]


def test_what_cannot_be_is_refused():
    dial = Dial("share", POINTS, 100, {})
    with pytest.raises(ValueError, match=r"budget must be at least 0.300, what .*, got 0.2"):
        dial.at(Budget(0.2))
    with pytest.raises(ValueError, match="points must cost less and less"):
        Dial("share", POINTS[::-1], 100, {})
    with pytest.raises(ValueError, match="points must be at least one"):
        Dial("share", [], 100, {})
    with pytest.raises(ValueError, match="unit must be one of share, ms, layers, got flops"):
        Dial("flops", POINTS, 100, {})  # type: ignore[arg-type]


def test_a_file_gives_the_dial_back(tmp_path: Path):
    dial = Dial("share", POINTS, 100, {"weights": "abc"})
    path = tmp_path / "dial.json"
    path.write_text(json.dumps(dial.as_dict(), default=lambda each: each.as_dict()))
    assert Dial.read(path).as_dict() == dial.as_dict() | {"points": Dial.read(path).points}
    assert [p.as_dict() for p in Dial.read(path).points] == [p.as_dict() for p in POINTS]


@pytest.mark.parametrize(
    "damaged",
    [
        {"points": [{"exit": [0.9], "reduction": None, "cost": 1.0}]},  # before 0.4
        {"points": [{"point": {}, "cost": "cheap"}]},
        {"points": [{"cost": 1.0}]},
        {"points": []},
        {"costs": "ms"},
    ],
)
def test_another_file_is_refused_in_a_line(damaged: dict, tmp_path: Path):
    path, whole = tmp_path / "dial.json", {"unit": "share", "points": [], "num_examples": 1}
    path.write_text(json.dumps(whole | damaged))
    with pytest.raises(ValueError, match="not a dial of this version") as error:
        Dial.read(path)
    assert "\n" not in str(error.value)


def test_what_was_measured_goes_to_json_and_back():
    tally = Tally(Claim("disagreement", 0.01, 0.95), num=500, changed=1)
    found = Measured(at(0.9), depth=3.5, counts=[tally], tested=[tally], ms={"1": 2.0})
    plain = json.loads(json.dumps(found.as_dict(), default=plain_values))
    assert "cost" not in plain  # nobody looked at it
    assert Measured.read(plain).as_dict() == found.as_dict()
    assert Measured.read(plain).holds


def plain_values(value: object) -> dict:
    return value.as_dict() if hasattr(value, "as_dict") else vars(value)


def test_its_name_says_what_its_exits_come_to():
    assert Measured(Point.whole("openvino", "bf16")).name == "OpenVINO, bf16"
    assert Measured(at(0.9), depth=3.456).name == "our kernels, fp32, exits (3.46 layers)"
    small = Point.whole(dtype="int8", weights="small")
    chained = replace(Point.whole("onnx"), before=small, margin=0.5)
    name = "cascade: small in our kernels, int8 (53 %), else onnxruntime, fp32"
    assert Measured(chained, share=0.53).name == name
