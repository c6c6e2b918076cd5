"""Edits by hand; an attack from a run to its results."""

from pathlib import Path

import numpy as np
import pytest
from helpers.exports import make_run

from eat_lightning.report import result
from eat_lightning.runs.run import Run
from experiments.robustness.claim import alarm_rate
from experiments.robustness.drift import with_typos
from experiments.robustness.edits import character_edits, places, with_words
from experiments.robustness.run import attack


def test_typos_are_as_many_as_asked_and_the_same_again():
    text = "abcdefghij" * 200
    (changed,) = with_typos([text], 0.1, seed=0)
    assert with_typos([text], 0.1, seed=0) == [changed]
    assert with_typos([text], 0.0, seed=0) == [text]
    (again,) = with_typos(["1234 !?"], 1.0, seed=0)
    assert again == "1234 !?"


def test_words_are_replaced_at_places_of_the_original():
    text = ("a fine film", "not bad")
    assert places(text) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert with_words(text, {(0, 1): "f1lm", (1, 0): ""}) == ("a fine f1lm", " bad")


def test_first_and_last_letters_stay_but_for_look_alikes():
    edits = character_edits("boat")
    assert {"bat", "booat", "baot", "b0at", "8oat", "boa7"} <= {*edits}
    assert "boat" not in edits
    assert all(edit[0] in "b8" and edit[-1] in "t7" for edit in edits)


def test_the_interval_of_a_count_without_alarms_has_a_width():
    same = [result.Result({"kind": "control"}, {"alarms": 0, "num_before": 100_000})]
    rate = alarm_rate(same)
    assert (rate.value, rate.low) == (0, 0)
    assert rate.high == pytest.approx(-np.log(0.025))


@pytest.mark.slow
def test_from_a_run_to_results(tmp_path: Path):
    run = make_run(tmp_path / "run", "dense", "norm_topk", "confidence")
    rules = "rules=[{kind: confidence, tau: 0.7}, {kind: patience, patience: 1}, {kind: never}]"
    words = [f"run={run}", "examples=12", "candidates=4", "edits=2", "words=2", rules]
    found = attack([*words, f"to={tmp_path}/attack.jsonl"])
    assert len(found) == 2 * 3 + 3 * 3  # slowdown of two rules, evasion of three, each under three
    assert all(r["flops_worst"] <= r["flops_bound"] and r["edits"] <= 2 for r in found)
    for r in found:
        if r["against"] == r["under"] and r["goal"] == "slowdown":
            assert r["depth_after"] >= r["depth_before"]
    assert attack([*words, f"to={tmp_path}/attack.jsonl"]) == found  # the same seed
    kept = (tmp_path / "attack.jsonl").read_text()
    split = Run.open(run).data().split("validation")
    assert not any(split.text(i)[0] in kept for i in range(12))
