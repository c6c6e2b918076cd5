"""One method minus another: paired on the examples, seeds averaged, at budgets that both have."""

from pathlib import Path

import pytest
from helpers.budgeted import AT_6, run
from helpers.finished import config_of

from eat_lightning.errors import ConfigError
from eat_lightning.report import __main__ as command
from eat_lightning.report.__main__ import CLAIMS_DIR, claim_of
from eat_lightning.report.claim import Claim
from eat_lightning.report.study import open_study


def compare(folder: Path, against: str) -> Claim:
    study = open_study([str(folder)], against=against)
    return claim_of(CLAIMS_DIR / "compare.py")(study)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One method right on 6 of 8 for two seeds, the other on the first 4 of them."""
    for seed in (1, 2):
        run(tmp_path, f"joint{seed}", 0.8, seed)
        few = [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
        run(tmp_path, f"sweet{seed}", 0.9, seed, right=few, objective={"kind": "sweet"})
    return tmp_path


def test_a_line_is_a_method_minus_the_one_that_is_named(folder: Path):
    found = compare(folder, "eat, sweet")
    (line,) = found.tables[0].lines
    names = ("model", "setting", "seeds", "its_seeds")
    assert [line.cells[k].text for k in names] == ["eat", "budget 0.5", "2 (1, 2)", "2 (1, 2)"]
    titles = [column.title for column in found.tables[0].columns]
    assert titles.count("FLOPs of eat, sweet") == titles.count("seeds of eat, sweet") == 1
    gained = 100 * (sum(AT_6) - 4) / 8
    assert line.cells["points"].value == pytest.approx(gained)
    assert line.cells["points"].text in found.answer[0]
    (back,) = compare(folder, "eat").tables[0].lines
    assert back.cells["points"].value == pytest.approx(-gained)


def test_only_seeds_that_both_have_are_compared(folder: Path):
    (before,) = compare(folder, "eat, sweet").tables[0].lines
    run(folder, "joint3", 0.8, 3, right=[[0] * 8, [0] * 8])
    (line,) = compare(folder, "eat, sweet").tables[0].lines
    assert line.cells["seeds"].text == "2 (1, 2)"
    assert line.cells["points"].value == before.cells["points"].value


def test_it_is_refused_before_the_long_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
    config = config_of("report", f"study=[{folder}]", "against='eat, joint'")
    monkeypatch.setattr(command, "make_claims", lambda *_: pytest.fail("claims were made"))
    with pytest.raises(
        ConfigError, match='against="eat" or against="eat, sweet", got \'eat, joint'
    ):
        command.report(config)
