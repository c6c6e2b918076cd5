"""Texts of more tokens than a classifier reads: what was certified of them is what is answered."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.adapting import check_reference, made_up_times, plan_of
from helpers.classifiers import LABELS
from helpers.finished import config_of, refused

from eat_lightning.config import parsed
from eat_lightning.deploy.adapt import run as steps
from eat_lightning.deploy.adapt import search
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.plan import AdaptSettings
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.engines.open import open_backend
from eat_lightning.infer.backend import Backend
from eat_lightning.record.timing import time_all

AT_ONCE = 12  # tokens: ten words
WINDOWS = ("long=windows", "windows.label=yes", "windows.overlap=4")


def opened(folder: str, *words: str) -> Backend:
    return open_backend(parsed(PredictSettings, config_of("predict", f"run='{folder}'", *words)))


def check_answers(made: AdaptResult) -> list[dict[str, Any]]:
    """The folder's answers to the texts of the certificate, which changed as it says."""
    backend, split = opened(made.plan.to), made.splits["certify"]
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    wanted_N = made.original_answers["certify"].argmax(-1)
    changed = sum(a["label"] != LABELS[w] for a, w in zip(answers, wanted_N, strict=True))
    (count,) = made.chosen.tested or []
    assert (count.num, count.changed) == (len(answers), changed)
    assert np.mean([a["depth"] for a in answers]) == made.trace.depth_B.mean()
    return answers


def timed_and_made_up(candidates: dict[str, Any], **how: Any) -> Any:
    """Time whole texts, and tell times that do not depend on this machine."""
    *_, found = time_all(candidates, **how)
    assert found.keys() == candidates.keys()
    yield from made_up_times(candidates)


@pytest.mark.parametrize("join", ["any", pytest.param("mean", marks=pytest.mark.slow)])
def test_windows_are_read_and_texts_are_counted(
    join: str, classifier: Path, few_texts: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setattr(search, "time_all", timed_and_made_up)
    given = f"max_length={AT_ONCE}", *WINDOWS, f"windows.join={join}", "agree=0.8"
    made = steps.adapt(plan_of(classifier, few_texts, tmp_path / "adapted", *given))
    assert made.chosen.point is not None
    answers = check_answers(made)
    assert {answer["windows"] for answer in answers} == {1, 2}
    assert made.trace.depth_B.min() < made.original.num_layers
    found = [a for a in answers if a["windows"] == 2 and a["label"] == "yes"]
    if join == "any":  # what is found ran to full depth
        assert {answer["depth"] for answer in found} == {made.original.num_layers}
    said = capsys.readouterr().out
    assert f"in windows of 12 tokens, 4 shared, {join} of yes" in said
    check_reference(made)
    card = Path(made.plan.to, "README.md").read_text()
    assert f"in windows of 12 tokens, 4 shared, {join} of yes |" in card
    assert "error" in opened(made.plan.to, "long=refuse").answer([["good " * 11]])[0]
    assert (
        "the certificate is for long=windows, and long=refuse is named" in capsys.readouterr().err
    )


@pytest.mark.parametrize("long", ["refuse", "cut"])
def test_what_is_refused_is_left_out_and_what_is_cut_is_cut(
    long: str, classifier: Path, few_texts: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setattr(search, "time_all", made_up_times)
    given = f"max_length={AT_ONCE}", f"long={long}", "agree=0.8"
    made = steps.adapt(plan_of(classifier, few_texts, tmp_path / "adapted", *given))
    answers = check_answers(made)
    num_long = sum(len(text.split()) > AT_ONCE - 2 for text in few_texts.read_text().splitlines())
    [longer] = opened(made.plan.to).answer([["good " * 11]])
    said = capsys.readouterr().out
    if long == "refuse":
        assert f"{num_long} too long (long=cut takes the first, long=windows all)" in said
        assert longer["error"].startswith("a text must have at most 12 tokens, got ")
    else:
        assert f"cut at {AT_ONCE} tokens" in said
        assert any(answer["truncated"] for answer in answers)
        assert longer["truncated"]


def test_a_cascade_reads_texts_at_once(classifier, few_texts, tmp_path):
    def settings() -> AdaptSettings:
        return plan_of(classifier, few_texts, tmp_path / "adapted", *WINDOWS, "small=tiny")

    assert refused(settings) == "small=tiny is for texts that are read at once, got long=windows"
