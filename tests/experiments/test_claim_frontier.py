"""Accuracy against time: the tables, what is flagged, the answer, and the figure's marks."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from frontiers import eat_run, fixed_rows, static_run
from studies import claim_in

from eat_lightning.measure.settings import THEIRS
from eat_lightning.report import figures
from eat_lightning.report.__main__ import CLAIMS_DIR, claim_of
from eat_lightning.report.claim import Claim
from eat_lightning.report.study import NO_EXAMPLES, open_study
from eat_lightning.report.table import Line
from experiments.frontier import settings

claim = partial(claim_in, "frontier")


def line(found: Claim, model: str, setting: str, table: int = 0) -> Line:
    (only,) = (
        line
        for line in found.tables[table].lines
        if (line.cells["model"].text, line.cells["setting"].text) == (model, setting)
    )
    return only


@pytest.fixture
def found(tmp_path: Path) -> Claim:
    static_run(tmp_path)
    eat_run(tmp_path)
    return claim(tmp_path)


def test_a_line_has_what_the_rows_say(found: Claim):
    made = line(found, "eat", "tau 0.9").cells
    values = {key: made[key].value for key in ("accuracy", "to_own", "to_trained", "depth")}
    assert values == {"accuracy": 100.0, "to_own": 12.5, "to_trained": 50.0, "depth": 4.5}
    assert made["to_trained"].bold
    assert (made["speed_up"].value, made["batch_speed_up"].value) == (2.0, 2.0)
    held = [made[f"to_{key}"].value for key in ("padded_speed_up", "padded_batch")]
    assert held == pytest.approx([2.4, 4.0])
    assert made["to_trained_speed_up"].value == 1.6
    assert (made["conversion"].value, made["batch_conversion"].value) == (1.2, 1.2)


def test_seeds_are_mean_and_sd(tmp_path: Path):
    worse = {4: [1, 1, 1, 1, 0, 0, 0, 0], 6: [1, 1, 1, 1, 1, 1, 0, 0]}
    eat_run(tmp_path)
    eat_run(tmp_path, seed=2, right=worse)
    made = line(claim(tmp_path), "eat", "tau 0.9")
    assert made.cells["accuracy"].text == "87.50 ± 17.68"  # of 100 and 75
    assert made.cells["seed"].text == "2 (1, 2)"
    assert made.cells["to_own"].value == pytest.approx(0.0)
    assert made.cells["to_own_p"].text == "1.00 (1.00 to 1.00)"
    assert made.flags == ()
    assert made.source.runs == ("s/eat1", "s/eat2")


def test_the_answer_has_the_numbers(found: Claim):
    body = "sst2, minilm-l6, fp32: eat tau 0.9"
    near, fast, trained = found.answer
    assert near.startswith(f"{body} is the fastest within 1 point of its own static: +12.50 points")
    assert fast.startswith(f"{body} is 2.00 (1.90 to 2.10) times as fast at batch 1, ")
    assert fast.endswith(" times at batch 32.")
    assert trained.startswith(
        f"{body} against the static model that was trained for itself: +50.00 points"
    )


def test_the_answer_is_honest(tmp_path: Path):
    eat_run(tmp_path, right={4: [0] * 8, 6: [1, 1, 1, 1, 0, 0, 0, 0]})
    first, second = claim(tmp_path).answer
    assert "no setting is within 1 point of its own static; the nearest, eat tau 0.9" in first
    assert "-37.50 points" in first
    assert "trained for itself is missing" in second


def test_static_models_of_smaller_bodies_are_to_be_beaten(tmp_path: Path):
    static_run(tmp_path, encoder="small", flops=99.0)  # own static: 60 / 0.6
    static_run(tmp_path, seed=2, encoder="large", flops=101.0)
    eat_run(tmp_path)
    found = claim(tmp_path)
    pairs = found.tables[1]
    assert pairs.name == "frontier-sst2-smaller"
    (made,) = pairs.lines
    assert made.cells["points"].value == 50.0
    assert made.cells["single"].value == 1.6
    assert made.source.runs == ("s/eat1", "s/static1")
    assert found.answer[-1].startswith(
        "sst2, minilm-l6, fp32: against the smaller static minilm, small, eat tau 0.9 is 1.60 "
    )


def test_figure_has_a_mark_for_each_setting_and_panel(found: Claim):
    (figure,) = found.figures
    assert len(figure.marks) == 3 + 2 * 4  # FLOPs are not counted for Hugging Face's
    text = figures.svg(figure)  # raises where a mark was not drawn
    assert all(f'id="{mark.gid}"' in text for mark in figure.marks)
    reported = [dict(m.details) for m in figure.marks if m.title == "eat, tau 0.9"]
    (details,) = (each for each in reported if "ms at batch 1" in each)
    assert details["ms at batch 1"] == "5.00 (4.90 to 5.10)"
    assert details["Δ own static"].startswith("+12.50")


def test_fixed_depth_is_a_curve_over_counted_flops(tmp_path: Path):
    static_run(tmp_path)
    gain = {"adaptivity_gain": 0.05, "adaptivity_gain_low": 0.01, "adaptivity_gain_high": 0.09}
    eat_run(tmp_path, **gain)
    fixed_rows(tmp_path)
    found = claim(tmp_path)
    assert line(found, "eat", "fixed depth 4").cells["accuracy"].value == 75.0
    made = line(found, "eat", "tau 0.9").cells["gain"]
    assert (made.text, made.bold) == ("+5.00 (+1.00 to +9.00)", True)
    (figure,) = found.figures
    titles = [mark.title for mark in figure.marks if "fixed depth" in mark.title]
    assert titles == [f"eat, fixed depth {layer}" for layer in (2, 4, 6)]
    assert ">layer 2</text>" in figures.svg(figure)


def test_prepacked_rows_are_shown_beside_hugging_faces_which_are_not(tmp_path: Path):
    static_run(tmp_path)
    eat_run(tmp_path)
    study = open_study([str(tmp_path)])
    study.measured = [
        m if m.row.baseline == THEIRS else replace(m, row=replace(m.row, form="prepacked"))
        for m in study.measured
    ]
    found = claim_of(CLAIMS_DIR / "frontier" / "claim.py")(study)
    dtypes = {x.cells["setting"].text: x.cells["dtype"].text for x in found.tables[0].lines}
    assert dtypes.pop("hugging face") == "fp32"
    assert {*dtypes.values()} == {"fp32 prepacked"}
    made = line(found, "eat", "tau 0.9").cells
    values = [made[f"to_{key}"].value for key in ("own", "trained", "trained_speed_up")]
    assert values == [12.5, 50.0, 1.6]
    assert made["to_padded_speed_up"].value == pytest.approx(2.4)
    theirs = line(found, "eat", "hugging face").cells
    assert (theirs["to_own"].value, theirs["to_trained"].value) == (0, 37.5)
    (figure,) = found.figures
    assert len(figure.marks) == 3 + 2 * 4  # FLOPs are not counted for Hugging Face's
    assert "fp32 prepacked, 1 thread, cpu" in figure.caption
    assert any("Hugging Face's model runs as people call it" in note for note in found.notes)
    assert all("fp32 prepacked: " in text for text in found.answer)


def test_rows_without_sessions_and_examples_are_shown_and_flagged(tmp_path: Path):
    eat_run(tmp_path)
    study = open_study([str(tmp_path)])
    older = [replace(m.row, session="", examples="") for m in study.measured]
    study.measured = [replace(m, row=row) for m, row in zip(study.measured, older, strict=True)]
    found = claim_of(CLAIMS_DIR / "frontier" / "claim.py")(study)
    made = line(found, "eat", "tau 0.9").cells
    assert made["speed_up"].text == "2.00 (1.90 to 2.10)"
    assert made["to_padded_speed_up"].flags == (settings.NO_SESSION,)
    assert made["to_own"].flags == (NO_EXAMPLES,)
