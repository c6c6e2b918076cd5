"""Which candidates are tried: the exit before layer 1 alone, and forms that could be chosen."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.adapting import taken

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.deploy.adapt import forms
from eat_lightning.deploy.adapt.search import (
    HEAD,
    Bench,
    Leaving,
    Search,
    everybody_at_first,
    fast_enough,
)
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.every_label import EveryLabel
from eat_lightning.methods.exit.predicted_error import PredictedError
from eat_lightning.model.contracts import ExitRule, at_point
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.same_answer import SameAnswer

WRONG = Point.whole("onnx", "int8")
TIMES = {"examples": 16, "repeats": 1}


@pytest.mark.parametrize(
    ("rule", "logits"),
    [
        (Confidence(tau=1.0, layers=[0, 1]), [0.0] * 5),  # five classes, alike
        (EveryLabel(tau=1.0, layers=[0, 1]), [0.0] * 3),
        (PredictedError(bound=0.0, layers=[0, 1], cuts=[2.5]), [2.4, 9.0]),  # its error is large
    ],
)
def test_at_one_point_all_leave_before_layer_1(rule: ExitRule, logits: list[float]):
    first_EBC = torch.tensor([[logits]])
    assert not rule.decides(first_EBC).any()
    lax = at_point(rule, everybody_at_first(rule))
    assert lax.decides(first_EBC).all()
    assert not lax.decides(torch.cat([first_EBC, first_EBC])).any()  # at the next exit nobody


def test_engines_that_are_not_installed_are_not_tried(monkeypatch: pytest.MonkeyPatch):
    absent, engines = ["openvino"], ["onnx", "openvino"]
    monkeypatch.setattr(forms, "package_faults", list)
    monkeypatch.setattr(forms, "engine_faults", lambda name: [name] if name in absent else [])
    assert forms.absent_engines(engines) == absent
    monkeypatch.setattr(forms, "package_faults", lambda: ["nothing makes graphs"])
    assert forms.absent_engines(engines) == engines


def test_forms_slower_than_a_sure_one_are_not_judged():
    """Of four forms one changes too much; of the others the fastest and one near it are judged."""
    unused: Any = None
    original = {"select": np.tile([1.0, 0.0], (400, 1)), "certify": np.tile([1.0, 0.0], (600, 1))}
    judged = []

    class HandMade(Search):
        def trace(self, candidate: Measured, part: str) -> Trace:
            judged.append(candidate.point.runner)
            wrong = candidate.point == WRONG
            return Trace(original[part][:, ::-1] if wrong else original[part], np.zeros(400))

    same, claims = SameAnswer(SingleLabel(2), ["no", "yes"]), [Claim("disagreement", 0.02, 0.95)]
    search = HandMade(unused, same, claims, original, original, unused, 1, 1, {})
    slow, near, sure = (Point.whole(dtype=dtype) for dtype in ("fp32", "bf16", "int8"))
    times = [(slow, 9.0), (near, 4.5), (sure, 4.0), (WRONG, 1.0)]
    statics = [Measured(point, ms={"1": ms}) for point, ms in times]
    search.judge_fast(statics)
    assert judged == [point.runner for point in (WRONG, sure, near)]
    assert statics[0].fault == "slower than one that keeps it"
    assert [each.point for each in search.near_fastest(statics, 1.25)] == [near, sure]


def test_exits_are_tried_in_a_form_that_is_sure_beside_faster_ones_that_are_not():
    unused: Any = None
    search = Search(unused, unused, unused, {}, {}, unused, 1, 1, {})
    fp32, bf16, int8 = (Point.whole(dtype=dtype) for dtype in ("fp32", "bf16", "int8"))
    known = [(fp32, 9.0, 0.999), (bf16, 5.7, 0.995), (int8, 3.8, 0.8), (WRONG, 1.0, 0.0)]
    statics = [Measured(point, chance=chance, ms={"1": ms}) for point, ms, chance in known]
    assert [each.point for each in search.for_exits(statics)] == [int8, bf16]
    statics[2].chance = 0.99  # sure too, and the fastest
    assert [each.point for each in search.for_exits(statics)] == [int8]
    assert search.for_exits(statics[3:]) == []


def test_with_few_texts_static_forms_are_tested_before_exits():
    """Exits, int8 and fp32 look alike on few texts: the safest comes first all the same."""
    unused: Any = None
    search = Search(unused, unused, unused, {}, {}, unused, 1, 1, {})
    plain = [
        (Point.whole(), 5.0), (Point.whole(dtype="int8"), 3.0), (Point.whole(dtype="bf16"), 4.0),
    ]  # fmt: skip
    made = [Measured(point, chance=0.85, ms={"1": ms}) for point, ms in plain]
    original = Measured(Point.whole("transformers"), chance=0.85, ms={"1": 9.0})
    leaving = Specification("exit", "confidence", {"tau": [0.5], "layers": [1]})
    exits = Measured(plain[1][0].at(exit=leaving), chance=0.85, ms={"1": 1.0})
    order = search.sequence([original, *made, exits])
    assert [(c.point.dtype, c.point.is_static) for c in order] == [
        *(("fp32", True), ("int8", True), ("int8", False))
    ]
    original.ms = {"1": 4.0}
    assert [c.point.dtype for c in search.sequence([original, *made])] == ["int8"]  # faster than it
    original.ms, made[2].chance = {"1": 9.0}, 0.995  # bf16 is nearly sure
    order = search.sequence([original, *made, exits])
    assert [(c.point.dtype, c.point.is_static) for c in order] == [("bf16", True), ("int8", False)]
    exits.chance = 0.999  # and its exits are surer by luck: the static form is tested before them
    order = search.sequence([original, *made, exits])
    assert [(c.point.dtype, c.point.is_static) for c in order] == [("bf16", True), ("int8", False)]
    original.ms, original.chance = {"1": 0.9}, 1.0  # faster than all of them
    assert search.sequence([original, *made, exits]) == []


def test_an_open_exit_is_measured_beside_the_whole_form():
    """Twelve layers take 6 ms. A point whose texts run four of them, and meet two open exits, takes
    2.6 ms, as 5.2 layers do: an exit costs 0.6 of a layer."""
    unused: Any = SimpleNamespace(num_layers=12)
    exit = Specification("exit", "confidence", {"tau": [0.9, 0.8, 1.0], "layers": [2, 3, 6]})
    form, timed = Point.whole("onnx", "int8"), []

    class HandMade(Search):
        def leaving(self, form: Point) -> list[Leaving]:
            return [Leaving(exit, Trace(np.zeros((2, 2)), np.array([3, 5])))]

        def time(self, name: str, candidates: Any, most: Any = None) -> None:
            timed.append([c.point.has_exits for c in candidates])
            for candidate, ms in zip(candidates, (6.0, 2.6), strict=True):
                candidate.ms = {"1": ms}

    search = HandMade(unused, unused, unused, {}, {}, unused, 1, 1, {})
    assert search.guess(form) == HEAD
    assert search.measures_guess(Measured(form), form)  # without exits nothing is measured
    assert timed == []
    assert search.measures_guess(Measured(form), form.at(exit=exit))
    assert timed == [[False, True]]
    assert search.guess(form) == pytest.approx(0.6)
    [leaving] = search.leaving(form)
    assert leaving.layers(search.guess(form)) == pytest.approx(5.2)


def test_points_much_slower_than_another_form_get_no_graphs():
    def made(ms: float) -> Measured:
        return Measured(Point.whole().at(exit=Specification("exit", "never", {"ms": ms})), cost=ms)

    found = {"a": {0.9: made(4.0), 0.6: made(3.0)}, "b": {0.99: made(9.0), 0.9: made(4.3)}, "c": {}}
    found["a"][0.99] = found["a"][0.9]  # the safest at both
    kept = fast_enough(found, 1.1)
    assert {key: [c.cost for c in points] for key, points in kept.items()} == {
        "a": [4.0, 3.0],
        "b": [4.3],
    }


def test_changed_answers_are_counted_by_class():
    same = SameAnswer(SingleLabel(2), ["no", "yes"])
    original_NC, logits_NC = np.eye(2)[[0, 0, 1, 0]], np.eye(2)[[1, 0, 0, 1]]
    assert same.class_changes(original_NC, logits_NC) == {("no", "yes"): 2, ("yes", "no"): 1}
    assert not same.class_changes(original_NC, original_NC)


class Rows(SimpleNamespace):
    """A split of 40 texts whose batches are their rows."""

    def __len__(self) -> int:
        return 40

    def batch(self, rows: np.ndarray) -> np.ndarray:
        return rows


def test_engines_whose_graphs_cannot_be_relied_on_are_left_out(tmp_path: Path):
    """One cannot open its graph; one runs another depth for a text alone than for it in a batch."""

    def broken(_: Any) -> Any:
        raise ValueError("single.onnx: not a graph that can be run")

    def depths(rows: np.ndarray, alone: int) -> Trace:
        return Trace(np.zeros((len(rows), 2)), np.full(len(rows), alone if len(rows) == 1 else 1))

    def deployed(point: Point, _: Any) -> forms.Deployed:
        run = broken if point.dtype == "int8" else lambda batch: batch
        alone = 94658984495835 if point.dtype == "bf16" else 1
        return forms.Deployed(run, lambda batch: batch, lambda rows: depths(rows, alone))

    wanted: list[dict[str, Any]] = []

    def timed(ready: dict[str, Any], **how: Any) -> list[Any]:
        wanted.append(how)
        return [{key: taken(1.0) for key in ready}]

    made: Any = SimpleNamespace(deployed=deployed)
    same, claims = SameAnswer(SingleLabel(2), ["no", "yes"]), [Claim("disagreement", 0.02, 0.95)]
    work = Work.open(tmp_path / "to", {})
    splits, bench = {"select": Rows()}, Bench(timed)
    search = Search(made, same, claims, splits, {}, work, 1, 1, TIMES, bench=bench)
    points = Point.whole(), Point.whole("openvino", "int8"), Point.whole("openvino", "bf16")
    sound, unopened, wrong = map(Measured, points)
    search.time("static", [sound, unopened, wrong])
    assert sound.ms == {"1": 1.0}
    assert (wanted[0]["alone"], wanted[0]["orders"]) == (True, ())  # batches are not timed
    assert unopened.ms == wrong.ms == {}
    assert unopened.fault == "single.onnx: not a graph that can be run"
    assert wrong.fault == "answers 16 of 16 texts otherwise alone than in a batch"


def test_answers_are_made_on_all_cores_and_times_taken_on_the_threads_of_the_plan(tmp_path: Path):
    given: list[int | None] = []

    def deployed(_: Point, threads: int | None) -> forms.Deployed:
        given.append(threads)
        answer = Trace(np.zeros((32, 2)), np.ones(32))
        return forms.Deployed(len, lambda rows: rows, lambda size: answer.take(np.arange(size)))

    def timed(ready: dict[str, Any], warmup: int, examples: int, **_: Any) -> list[Any]:
        assert warmup == examples  # what is opened at a first text is not in its time
        return [{key: taken(1.0) for key in ready}]

    made: Any = SimpleNamespace(deployed=deployed)
    split = Rows(lengths=np.ones(40))
    bench = Bench(timed, cores=lambda: range(4))
    same, work = SameAnswer(SingleLabel(2), ["no", "yes"]), Work.open(tmp_path / "to", {})
    search = Search(made, same, [], {"select": split}, {}, work, 1, 2, TIMES, bench=bench)
    candidate = Measured(Point.whole("onnx"))
    assert len(search.trace(candidate, "select")) == 40
    search.time("static", [candidate])
    assert given == [4, None]


def test_an_engine_has_the_threads_that_are_asked_for_or_those_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
):
    given: list[int] = []
    monkeypatch.setattr(forms.Forms, "graphs", lambda self, point, threads: given.append(threads))
    unused: Any = None
    made = forms.Forms(SimpleNamespace(joiner=None), unused, unused, 2)
    made.deployed(Point.whole("onnx"))
    made.deployed(Point.whole("onnx"), 4)
    assert given == [2, 4]
