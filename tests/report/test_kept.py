"""Rows and examples in one folder: the same numbers as from the runs, and no label."""

from pathlib import Path

import numpy as np
from studies import EAT, keep, make_recorded, make_row

from eat_lightning.infer.record import Recorded
from eat_lightning.methods.exit.never import Never
from eat_lightning.report.kept import keep as keep_study
from eat_lightning.report.kept import right_class_first
from eat_lightning.report.study import open_study


def test_the_right_class_comes_first():
    logits_BC = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], np.float32)
    labels = np.array([0, 1, 2])
    recorded = Recorded(labels, labels, {2: logits_BC}, np.ones((2, 3), int), Never())
    kept = right_class_first(recorded)
    assert kept.guesses[2].tolist() == [[1, 2, 3], [5, 4, 6], [9, 7, 8]]
    assert kept.labels.tolist() == [0, 0, 0]
    assert kept.origins is None
    assert recorded.labels.tolist() == [0, 1, 2]


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
        assert one.members[0].outcome is not None
        np.testing.assert_array_equal(
            one.members[0].outcome.depth_B, other.members[0].outcome.depth_B
        )
    # Both settings are of one pass; a second report keeps it, and forgets what is gone.
    assert len(list((tmp_path / "kept" / "examples").iterdir())) == 1
    (tmp_path / "kept" / "examples" / "older.parquet").touch()
    keep_study(again, tmp_path / "kept")
    assert [p.suffix for p in (tmp_path / "kept" / "examples").iterdir()] == [".parquet"]


def test_rows_without_examples_are_kept_too(tmp_path: Path):
    keep(tmp_path / "r", [make_row()])
    keep_study(open_study([str(tmp_path)]), tmp_path)
    assert open_study([str(tmp_path / "rows.jsonl")]).measured[0].row.examples == ""
