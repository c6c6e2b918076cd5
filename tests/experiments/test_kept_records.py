"""Rows and examples in one folder: the same numbers as from the runs, and no label."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models import kinds, method, ragged, tiny
from helpers.studies import EAT, keep, make_recorded, make_row

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.exit.prototype import PrototypeDistance
from eat_lightning.new.checks import Examples
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.report.study import open_study
from eat_lightning.runs import jsonl
from eat_lightning.runs import row as rows
from experiments.kept import compact, fields_of, right_class_first
from experiments.kept import keep as keep_study


def test_the_right_class_comes_first():
    logits_BC = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], np.float32)
    labels = np.array([0, 1, 2])
    recorded = Record(labels, labels, {2: logits_BC}, np.ones((2, 3), int), Never())
    kept = right_class_first(recorded)
    assert kept.guesses[2].tolist() == [[0, 1, 2], [0, -1, 1], [0, -2, -1]]
    assert kept.labels.tolist() == [0, 0, 0]
    assert kept.origins is None
    assert recorded.labels.tolist() == [0, 1, 2]


def test_an_example_near_a_threshold_keeps_all_its_bits():
    """ln 3 = 1.0986 is 1.1015625 in eight bits, and its confidence 0.75055: over 0.750001."""
    margin, zero = np.float32(np.log(3)), np.float32(0)
    guess_BC = np.array([[margin, zero], [3 * margin, zero]])
    labels, tokens_LB = np.array([0, 0]), np.ones((2, 2), int)
    recorded = Record(labels, tokens_LB[0], {1: guess_BC, 2: guess_BC}, tokens_LB, Never())
    near, far = (Confidence(tau=tau, layers=[1]) for tau in (0.750001, 0.6))
    assert compact(recorded, [far]).guesses[1][:, 1].tolist() == [-1.1015625, -3.296875]
    kept = compact(recorded, [far, near]).guesses[1][:, 1].tolist()
    assert kept == [-margin, -3.296875]


def test_a_row_says_what_differs_from_its_defaults(tmp_path: Path):
    """Measured numbers to seven digits; a threshold with every bit, since answers hang on it."""
    third = 1 / 3
    row = make_row(exit={"kind": "confidence", "tau": third}, knob="tau", point=third, f1=third)
    line = fields_of(row)
    assert line["f1"] == 0.3333333
    assert line["exit"].arguments["tau"] == line["point"] == third
    assert not {"matthews", "policy", "threads"} & line.keys()
    jsonl.write(tmp_path / "rows.jsonl", [row], fields_of)
    (again,) = rows.read(tmp_path / "rows.jsonl")
    assert again == replace(row, f1=0.3333333)


def test_a_rule_that_reads_logits_as_they_are_is_refused():
    with pytest.raises(ValueError, match="in margins cannot be replayed under CertaintyAware"):
        compact(record(tiny(), Examples(ragged())), [method("exit", "cap")])


RULES = {k: method("exit", k) for k in kinds("exit")}
IN_MARGINS = [k for k, rule in RULES.items() if SINGLE in rule.kinds and rule.by_difference]


@pytest.mark.parametrize("kind", IN_MARGINS)
def test_every_rule_leaves_where_it_did(kind: str):
    """Whatever it looks at may depend on the order of the classes."""
    encoder = tiny("dense", "none", kind, head={"layers": [2, 3, 4]})
    recorded = record(encoder, Examples(ragged(tuple(range(1, 38)))))
    recorded.labels = np.arange(len(recorded)) % encoder.num_labels
    kept = compact(recorded, [encoder.exit])
    before, after = recorded.replay(encoder.exit), kept.replay(encoder.exit)
    assert before.depth_B.tolist() == after.depth_B.tolist()
    right_B = before.logits_BC.argmax(1) == recorded.labels
    assert right_B.tolist() == (after.logits_BC.argmax(1) == 0).tolist()


def test_signals_of_each_class_move_with_the_classes():
    """Two examples of class 1 near its prototype, and sure: both leave, before and after."""
    guess_BC = np.array([[0, 2], [0, 3]], np.float32)
    far_near_BC = np.array([[9, 1], [8, 1]], np.float32)
    labels, tokens_LB = np.array([1, 1]), np.ones((2, 2), int)
    guesses, signals = {1: guess_BC, 2: -guess_BC}, {1: far_near_BC, 2: far_near_BC}
    recorded = Record(labels, labels, guesses, tokens_LB, Never(), signals=signals)
    rule: Any = PrototypeDistance(edr=0.3, layers=[1])
    kept = compact(recorded, [rule])
    assert kept.signals[1].tolist() == [[1, 9], [1, 8]]
    assert recorded.replay(rule).depth_B.tolist() == kept.replay(rule).depth_B.tolist() == [1, 1]


def test_a_kept_study_says_what_its_runs_say(tmp_path: Path):
    fields = {"num_examples": 3, "examples": "e.parquet"}
    rows = [make_row(**fields | EAT), make_row(**fields, baseline="own static")]
    keep(tmp_path / "runs" / "r", rows, make_recorded([[1, 0, 0], [1, 1, 0]], [4, 6]))
    study = open_study([str(tmp_path / "runs")])
    keep_study(study, tmp_path / "kept")
    again = open_study([str(tmp_path / "kept")])
    assert again.runs == []
    assert again.warnings == []
    for one, other in zip(study.points(), again.points(), strict=True):
        np.testing.assert_array_equal(one.correct_SB(), other.correct_SB())
        before, after = (point.members[0].known.depth_B for point in (one, other))
        np.testing.assert_array_equal(before, after)
    # Both settings are of one pass; a second report keeps it, and forgets what is gone.
    assert len(list((tmp_path / "kept" / "examples").iterdir())) == 1
    (tmp_path / "kept" / "examples" / "older.parquet").touch()
    keep_study(again, tmp_path / "kept")
    assert [p.suffix for p in (tmp_path / "kept" / "examples").iterdir()] == [".parquet"]
