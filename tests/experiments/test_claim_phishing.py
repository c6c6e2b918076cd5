"""Triage on a study whose thresholds and shares one can compute by hand."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from studies import EAT, claim_in, keep, make_recorded, make_row

from eat_lightning.infer.record import Recorded
from eat_lightning.report.claim import Claim
from eat_lightning.report.table import Line, Table

claim = partial(claim_in, "phishing")

NEVER = {
    "exit": {"kind": "never"},
    "knob": None,
    "point": None,
    "depth": 6.0,
    "exit_shares": {"6": 1.0},
}
EARLY = {"exit_shares": {"4": 1.0}, "depth": 4.0, "flops_ratio": 0.6}


def recorded(scores_4: list[float], scores_6: list[float], labels: list[int]) -> Recorded:
    """P(positive) at layers 4 and 6."""
    made = make_recorded([[1] * len(labels)] * 2, [4, 6])
    guesses = {
        layer: np.log(np.array([[1 - p, p] for p in scores], np.float32))
        for layer, scores in {4: scores_4, 6: scores_6}.items()
    }
    origins = ["new" if label else "sa_ham" for label in labels]
    origins[0] = "sa_spam"
    return replace(made, labels=np.array(labels), guesses=guesses, origins=origins)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Calibration: 19 positives at 0.50 ... 0.95 (above 0.5 all sure), validation by hand below."""
    high = [round(0.5 + 0.025 * k, 3) for k in range(19)]
    parts = {
        "certificate": recorded(high + [0.05] * 19, high + [0.05] * 19, [1] * 19 + [0] * 19),
        "validation": recorded(
            [0.51, 0.95, 0.96, 0.49, 0.04, 0.03, 0.02, 0.01],
            [0.90, 0.95, 0.96, 0.30, 0.04, 0.03, 0.02, 0.01],
            [1, 1, 1, 1, 0, 0, 0, 0],
        ),
    }
    for split, made in parts.items():
        fields = {"task": "mails", "model": "eat", "split": split, "examples": f"{split}.parquet"}
        fields |= {"num_examples": len(made.labels), "run": "eat1"}
        early = {**EAT, **EARLY, "exit": {"kind": "confidence", "tau": 0.9, "layers": [4]}}
        rows = [make_row(**{**EAT, **fields, **early}), make_row(**{**EAT, **fields, **NEVER})]
        keep(tmp_path / "eat1", rows, made)
    return tmp_path


def certify(folder: Path, **fields: object) -> None:
    whole = {
        **{"name": "fn", "risk": {"kind": "false_negatives", "label": 1}},
        **{"procedure": {"kind": "learn_then_test"}, "level": 0.3, "confidence": 0.9},
        **{"promise": "", "fallback": False, "reason": "", "seen": {"risk": 0.1}},
        "holds_for": {slot: EAT[slot] for slot in ("attention", "reduction", "exit")},
    }
    (folder / "eat1" / "certificates").mkdir()
    path = folder / "eat1" / "certificates" / "fn.json"
    path.write_text(json.dumps({**whole, **fields}))


def table(found: Claim, name: str) -> Table:
    return next(t for t in found.tables if t.name == name)


def line(made: Table, **texts: str) -> Line:
    return next(x for x in made.lines if all(x.cells[k].text == v for k, v in texts.items()))


def test_thresholds_come_from_the_calibration_part(folder: Path):
    """Of 19 positives 0.95 lets none below the lowest, 0.5: the fourth of validation is lost."""
    full = line(table(claim(folder), "triage-mails"), rule="full depth", asked="95.0").cells
    assert full["recall"].value == 75
    assert full["all"].value == pytest.approx(37.5)
    assert full["negatives"].value == 0
    assert full["saved"].value == pytest.approx(62.5)
    assert full["rare"].value == pytest.approx(100 * (1 - 0.01 * 0.75))


def test_a_certificate_is_judged_on_other_examples(folder: Path):
    certify(folder, holds_for={**EAT, "exit": {"kind": "confidence", "tau": 0.9, "layers": [4]}})
    found = claim(folder)
    (held,) = table(found, "certified-mails").lines
    assert held.cells["rule"].text == "tau 0.9"
    assert held.cells["risk"].value == 25  # the fourth
    assert "mails, fn: tau 0.9, on validation 25.0 % (4.6 to 69.9)." in found.answer
    assert line(table(found, "triage-mails"), rule="tau 0.9, certified", asked="95.0")
