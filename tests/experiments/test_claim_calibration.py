"""Calibration of each exit: values by hand, what is flagged, the oracle, and the figures."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import EAT, claim_in, keep, make_recorded, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.infer.record import Recorded
from eat_lightning.report import figures
from eat_lightning.report.claim import Claim
from eat_lightning.report.kept import keep as keep_study
from eat_lightning.report.study import open_study
from eat_lightning.report.table import Line

claim = partial(claim_in, "calibration")

AT_4, AT_6 = [1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 1, 0]  # six leave at 4
FITTED: dict[str, Any] = {
    "temperature": {"4": 2.0, "6": 1.0},
    "ece_before": {"4": 0.3, "6": 0.01},
    "ece_after": {"4": 0.1, "6": 0.01},
}


def run(folder: Path, seed: int = 1, at_4: list[int] = AT_4, **more: Any) -> Path:
    """An adaptive run at tau 0.9: a right guess is 95 % sure, a wrong one 60 %."""
    left = sum(at_4) / 8
    right = [a or b for a, b in zip(at_4, AT_6, strict=True)]  # those that stay: the last layer
    row = make_row(
        **{
            **{"model": "eat", "seed": seed, "run": f"eat{seed}", "examples": "e.parquet"},
            **EAT | FITTED,
            **{"accuracy": sum(right) / 8, "depth": 6 - 2 * left},
            **{"exit_shares": {"4": left, "6": 1 - left}},
            **more,
        }
    )
    return keep(folder / f"eat{seed}", [row], make_recorded([at_4, AT_6], [4, 6]))


def line(found: Claim, table: int, key: str, value: object) -> Line:
    (only,) = (x for x in found.tables[table].lines if x.cells[key].value == value)
    return only


@pytest.fixture
def found(tmp_path: Path) -> Claim:
    run(tmp_path)
    return claim(tmp_path)


def test_an_exit_by_hand(found: Claim):
    made = line(found, 0, "layer", 4).cells
    # Six of eight are 95 % sure and right, two 60 % sure and wrong.
    assert made["ece_after"].value == pytest.approx(100 * (6 * 0.05 + 2 * 0.6) / 8)
    assert made["adaptive_ece_after"].value == pytest.approx(100 * (6 * 0.05 + 2 * 0.6) / 8)
    assert made["brier_after"].value == pytest.approx((6 * 2 * 0.05**2 + 2 * 2 * 0.6**2) / 8)
    # Odds of 19 and 1.5 were 19^2 and 1.5^2 before a temperature of 2.
    sure, unsure = 361 / 362, 2.25 / 3.25
    assert made["ece_before"].value == pytest.approx(100 * (6 * (1 - sure) + 2 * unsure) / 8)
    brier = (6 * 2 * (1 - sure) ** 2 + 2 * 2 * unsure**2) / 8
    assert made["brier_before"].value == pytest.approx(brier)
    assert made["confidence_before"].value == pytest.approx(100 * (6 * sure + 2 * unsure) / 8)
    assert (made["accuracy"].value, made["temperature"].value, made["n"].value) == (75, 2, 8)
    # The surest six are right: risks 0 six times, 1/7, 2/8.
    area = 100 * (1 / 7 + 2 / 8) / 8
    assert (made["aurc_before"].value, made["aurc_after"].value) == pytest.approx((area, area))
    assert made["excess_aurc_after"].value == pytest.approx(0, abs=1e-9)


def test_brier_is_bold_only_where_it_is_surely_lower(tmp_path: Path):
    # Sharper than it should be: right half the time at 95 %; a temperature of 2 helps.
    keep(tmp_path / "r", [half_right_row()], half_right(40))
    made = line(claim(tmp_path), 0, "layer", 6).cells
    change = made["brier_change"]
    assert change.bold
    assert change.high is not None
    assert change.high < 0
    assert not made["ece_after"].flags  # 45 points off is no chance
    assert made["ece_after"].value == pytest.approx(45)


def half_right(n: int) -> Recorded:
    """Always 95 % sure of class 1, which is right for every other example."""
    return replace(make_recorded([[1] * n], [6]), labels=np.arange(n) % 2)


def half_right_row(**more: Any):
    fields = {"num_examples": 40, "accuracy": 0.5, "examples": "e.parquet"}
    return make_row(**{**fields, "temperature": {"6": 2.0}, **more})


def test_what_chance_shows_is_flagged(tmp_path: Path):
    run(tmp_path)
    made = line(claim(tmp_path), 0, "layer", 4).cells
    assert made["chance"].low <= made["ece_after"].value <= made["chance"].high  # type: ignore[operator]
    assert made["ece_after"].flags == ("perfect calibration shows as much by chance at this n",)


def test_seeds_are_averaged(tmp_path: Path):
    run(tmp_path, 1)
    run(tmp_path, 2, at_4=[1] * 7 + [0])
    found = claim(tmp_path)
    made = line(found, 0, "layer", 4)
    assert made.cells["accuracy"].text == "81.25 ± 8.84"  # of 75 and 87.5
    assert made.cells["seeds"].text == "2 (1, 2)"
    assert made.flags == ()
    assert line(found, 1, "way", "all at layer 4").cells["accuracy"].text == "81.25 ± 8.84"


def test_the_oracle_by_hand(found: Claim):
    # Six are right at 4, one at 6 only, one nowhere.
    made = line(found, 1, "way", "oracle")
    assert made.cells["accuracy"].value == 87.5
    assert made.cells["depth"].value == (6 * 4 + 6 + 6) / 8
    assert made.cells["least_depth"].value == (6 * 4 + 6 + 4) / 8
    assert made.cells["to_last"].value == pytest.approx(25.0)  # the last layer: five of eight
    assert not made.cells["to_last"].bold
    assert "a bound and no rule: it knows the labels" in made.flags
    tau = line(found, 1, "way", "tau 0.9").cells
    assert (tau["accuracy"].value, tau["depth"].value) == (87.5, 4.5)


def test_the_answer_has_the_numbers(found: Claim):
    first, second = found.answer
    assert "17.5 to 18.7 % at layer 4" in first
    assert second == (
        "sst2, eat: tau 0.9 is right on 87.50 % at depth 4.50; the oracle of its exits on 87.50 % "
        "at 4.50."
    )


def test_figures_are_drawn_and_every_bin_has_its_mark(found: Claim):
    reliability, oracle = found.figures
    for figure in found.figures:
        assert figures.svg(figure).startswith("<svg")  # which says so if a mark is lost
    assert len(reliability.marks) == 2 * 2 * 2  # two exits, before and after, two bins
    reported = dict(reliability.marks[-1].details)
    assert (reported["examples"], reported["confidence"]) == ("5", "95.0 %")
    assert len(oracle.marks) == 2 + 1 + 1  # exits, rule, oracle


def test_three_classes(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    guesses = {k: (rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels]).astype("f") for k in (4, 6)}
    recorded = replace(make_recorded([[1] * 60] * 2, [4, 6]), labels=labels, guesses=guesses)
    fields = {"task": "mnli", "num_examples": 60, "examples": "e.parquet", "exit": EAT["exit"]}
    row = make_row(
        **fields, **FITTED, knob="tau", point=0.9, exit_shares={"4": 0.5, "6": 0.5}, depth=5.0
    )
    keep(tmp_path / "m", [row], recorded)
    found = claim(tmp_path)
    made = found.tables[0].lines[0].cells
    assert made["aurc_before"].value != made["aurc_after"].value  # a temperature can reorder three
    assert figures.svg(found.figures[0])


def test_a_study_that_was_kept_says_the_same(tmp_path: Path):
    """Its guesses have the right class moved to the front, no labels, and eight bits."""
    run(tmp_path / "runs")
    keep_study(open_study([str(tmp_path / "runs")]), tmp_path / "kept")
    ours, theirs = (claim(tmp_path / name) for name in ("runs", "kept"))
    for mine, other in zip(ours.tables, theirs.tables, strict=True):
        for a, b in zip(mine.lines, other.lines, strict=True):
            assert {k: c.value for k, c in a.cells.items()} == {
                k: pytest.approx(c.value, rel=5e-3) if isinstance(c.value, float) else c.value
                for k, c in b.cells.items()
            }


def test_regressions_and_absent_examples_are_named(tmp_path: Path):
    run(tmp_path)
    fields = {"task": "stsb", "metric": "pearson", "accuracy": None, "majority": None}
    score = replace(make_recorded([[1] * 8], [6]), guesses={6: np.ones((8, 1), np.float32)})
    keep(tmp_path / "stsb", [make_row(**fields, pearson=0.8, run="s", examples="e.parquet")], score)
    keep(tmp_path / "bare", [make_row(run="bare", model="bert")])
    notes = claim(tmp_path).notes
    assert "stsb: a regression has no confidence and no exits." in notes
    assert "Without examples beside their rows: sst2 bert (measure again)." in notes


def test_nothing_to_judge_is_one_line(tmp_path: Path):
    keep(tmp_path / "bare", [make_row()])
    with pytest.raises(ConfigError, match="no classifying row has its examples beside it: python"):
        claim(tmp_path)
