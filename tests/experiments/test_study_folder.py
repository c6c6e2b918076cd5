"""A study's folder: tables are written into the page, and numbers without a row are named."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from test_studies import missing_links

from eat_lightning.report import columns
from eat_lightning.report.figures import Figure
from eat_lightning.report.section import Section
from experiments import study
from experiments.study import StudyFolder

PAGE = """# Does it pay?

It gains 1.50 points at 30 % of the cost, and `tau=0.25` is a setting. Nobody measured 7.25.

<!-- rows: gains -->
old
<!-- end -->

[here](#does-it-pay), [there](#nowhere), [file](claim.py), [none](none.md), [web](https://a.b)
"""


def page(results: Path) -> Section:
    shown = [columns.word("task", "task"), columns.number("gain", "gain")]
    lines: list[Any] = [{"task": "SST-2", "gain": 1.5}]
    table = columns.table("gains", "Gains", "", shown, lines, about=None)
    figure = Figure("gains", "Gains", "", lambda drawing: drawing.subplots(), (2, 2))
    return Section(
        "small", "Small", tables=[table], figures=[figure], facts=["at 30 % of the cost"]
    )


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.setattr(study, "HERE", tmp_path)
    module: Any = ModuleType("experiments.small.claim")
    module.page = page
    monkeypatch.setitem(sys.modules, "experiments.small", SimpleNamespace(claim=module))
    monkeypatch.setitem(sys.modules, "experiments.small.claim", module)
    (tmp_path / "small/results").mkdir(parents=True)
    (tmp_path / "small/page.md").write_text(PAGE)
    (tmp_path / "small/claim.py").write_text("def page(results): ...\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/page.md").write_text("# A page without its claim\n")
    return StudyFolder("small")


def test_tables_and_figures_are_written(small: StudyFolder):
    small.write()
    text = small.page.read_text("utf-8")
    assert "| SST-2  |   1.50 |\n<!-- end -->" in text
    assert "old" not in text
    assert text == small.filled()
    names = {path.name for path in (small.folder / "results").iterdir()}
    assert names == {"gains.svg", "gains-dark.svg"}


def test_a_number_without_a_row_is_named(small: StudyFolder):
    assert small.numbers_without_rows() == ["7.25"]


def test_links_to_nothing_are_named(small: StudyFolder):
    assert missing_links(small.page) == ["#nowhere", "none.md"]


def test_only_a_folder_that_makes_its_page_is_a_study(small: StudyFolder):
    assert study.studies() == [small]
    assert small.question == "Does it pay?"
