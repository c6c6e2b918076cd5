"""The report: every file from rows, what one claim lacks is a warning, bad input is one line."""

from __future__ import annotations

import logging
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from helpers.finished import called, config_of
from helpers.studies import EAT, claim_in, keep, make_recorded, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.overrides import with_paths_listed
from eat_lightning.report import __main__ as cli
from eat_lightning.report.__main__ import main, report
from eat_lightning.report.study import open_study
from experiments.kept import keep as keep_study

FOUND = (
    "sst2: eat at tau 0.9 has an accuracy of 75.0 %. It does 50 % of the work and is 2.0 "
    "times as fast. With all layers the model has an accuracy of 87.5 %."
)


def config(*overrides: str) -> dict:
    return config_of("report", *with_paths_listed(list(overrides), "study"))


def study_of(folder: Path) -> Path:
    """One adaptive run and its static twin, timed in one session."""
    times = {
        **{"latency_p50_ms": 1.0, "latency_p90_ms": 1.0, "latency_p99_ms": 1.0},
        **{"latency_batch": 1, "throughput_batch": 32, "timed_examples": 8, "repeats": 3},
        **{"padding_factor": 1.5, "padding_factor_sorted": 1.1, "threads": 1, "session": "x"},
    }
    fields = {"model": "eat", "run": "eat", "examples": "e.parquet", **times}
    fast = {"latency_ms": 1.0, "latency_low_ms": 0.9, "latency_high_ms": 1.1, "throughput": 2000.0}
    slow = {"latency_ms": 2.0, "latency_low_ms": 1.9, "latency_high_ms": 2.1, "throughput": 1000.0}
    rows = [
        make_row(**fields | EAT | fast, depth=5.0, flops_ratio=0.5, accuracy=0.75, speed_up=2.0,
                 exit_shares={"4": 0.5, "6": 0.5}),
        make_row(**fields | slow, accuracy=0.875, baseline="own static", speed_up=1.0),
    ]  # fmt: skip
    right = [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]]
    keep(folder / "eat", rows, make_recorded(right, [4, 6]))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of every claim, made once; those that cannot be made are on the page alone."""
    runs = study_of(tmp_path_factory.mktemp("study"))
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        made = report(config(f"study={runs}", "title=small", "examples=0", "formats=[png]"))
    assert "budgets: " not in out.getvalue() + err.getvalue()
    return made


def test_a_report_of_a_small_study(made: Path):
    assert made.name == "report"
    assert (made / "index.html").read_text().lower().startswith("<!doctype html>")
    text = (made / "report.md").read_text()
    assert text.startswith("# small")
    assert "Accuracy against time" in text
    assert text.partition("\n\n")[2].startswith(FOUND)
    results, _, absent = text.partition("## Not made")
    assert "budgets: " in absent
    assert "budgets: " not in results
    assert "budgets: " in (made / "index.html").read_text()


def test_a_report_of_kept_rows_is_the_same(made: Path, tmp_path: Path, capsys):
    keep_study(open_study([str(made.parent)]), tmp_path / "kept")
    wanted = ["claims=[frontier,exits]", f"to={tmp_path}", "formats=[png,svg,pdf]"]
    again = report(config(f"study={tmp_path / 'kept'}", *wanted))
    assert {p.suffix for p in (again / "figures").iterdir()} == {".pdf", ".png", ".svg"}
    *table, finding, page = capsys.readouterr().out.splitlines()
    expected = ["sst2", "eat", "tau", "0.9", "75.0", "0.50", "2.00"]
    assert expected in [line.split() for line in table]
    assert finding == FOUND
    assert page == f"report: {tmp_path / 'index.html'}"
    name = "figures/frontier-sst2.png"
    assert (made / name).read_bytes() == (again / name).read_bytes()
    whole, text = ((each / "report.md").read_text() for each in (made, again))
    section = text[text.index("## Accuracy against time") :].partition("\n## ")[0]
    assert section.strip() in whole


def test_a_report_ends_in_a_table_a_finding_its_page_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The end of `make quickstart`."""
    (tmp_path / "eat").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    given = "claims=[exits]", "examples=0", "formats=[]"
    made = report(config(f"study={study_of(tmp_path / 'study')}", *given))
    *table, finding, page, following = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in table if "sst2" in line] == [
        *(["sst2", "eat", "own"], ["sst2", "eat", "tau"]),
    ]
    assert (finding, page) == (FOUND, f"report: {made / 'index.html'}")
    assert following == f"next: eat predict run={tmp_path / 'study' / 'eat'} < lines.txt"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["claims=[nonsense]", "study=x"], "claims must be among .*frontier.*got 'nonsense'"),
        ([], "study must name a folder of runs"),
        (["study=x", "formats=[gif]"], "formats.0 must be one of png, svg.*got 'gif'"),
        (["study=x", f"to={__file__}"], "to must be a folder, and .* is a file"),
        (["study=absent"], "absent: there is no such folder or file"),
    ],
)
def test_bad_input_is_told_before_any_work(overrides: list[str], said: str):
    with pytest.raises(ConfigError, match=said):
        report(config(*overrides))


def test_a_claim_that_fails_for_want_of_rows_leaves_the_others(tmp_path: Path, monkeypatch):
    study_of(tmp_path)
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from eat_lightning.report.section import Section\n"
        "def claim(study):\n"
        "    return Section('mine', 'My own', [f'{len(study.measured)} rows'])\n"
    )
    folder = report(config(f"study={tmp_path}", "examples=0", f"claims=[{mine},budgets]"))
    text = (folder / "report.md").read_text()
    assert "2 rows" in text
    assert "budgets: " in text


@pytest.mark.parametrize("name", cli.found_claims())
def test_a_claim_names_the_rows_that_it_lacks(name: str, tmp_path: Path):
    keep(tmp_path / "r", [make_row()])
    with pytest.raises(ConfigError) as refused:
        claim_in(name, tmp_path)
    assert "\n" not in str(refused.value)


def test_exit_status_and_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert called(main, f"study={tmp_path}") == 1
    assert "has no rows: measure its runs" in capsys.readouterr().err
    assert logging.getLogger("matplotlib.font_manager").getEffectiveLevel() == logging.WARNING
