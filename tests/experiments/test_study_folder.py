"""A study's folder: its recipe runs with the places of this machine filled in, tables are written
into its page, and numbers without a row are named."""

from pathlib import Path
from typing import Any

import pytest
from test_studies import missing_links

from eat_lightning.errors import ConfigError
from eat_lightning.report import columns
from eat_lightning.report.figures import Figure
from eat_lightning.report.section import Section
from experiments import recipe
from experiments.study import StudyFolder, studies

PAGE = """# Does it pay?

It gains 1.50 points at 30 % of the cost, and `tau=0.25` is a setting. Nobody measured 7.25.

<!-- rows: gains -->
old
<!-- end -->

[here](#does-it-pay), [there](#nowhere), [file](claim.py), [none](none.md), [web](https://a.b)
"""


STEPS = """
needs: a minute; a folder
steps:
  - touch {data}/first
  - "test ${HOME} && echo '[{kind: margin}]' > {data}/second"
  - exit 3
  - touch {data}/never
"""


def page(results: Path) -> Section:
    shown = [columns.word("task", "task"), columns.number("gain", "gain")]
    lines: list[Any] = [{"task": "SST-2", "gain": 1.5}]
    table = columns.table("gains", "Gains", "", shown, lines, about=None)
    figure = Figure("gains", "Gains", "", lambda drawing: drawing.subplots(), (2, 2))
    return Section(
        "small", "Small", tables=[table], figures=[figure], facts=["at 30 % of the cost"]
    )


class Small(StudyFolder):
    """A study whose claim is made here."""

    @property
    def claim(self) -> Section:
        return page(self.folder / "results")


@pytest.fixture
def small(tmp_path: Path) -> StudyFolder:
    (tmp_path / "small/results").mkdir(parents=True)
    (tmp_path / "small/page.md").write_text(PAGE)
    (tmp_path / "small/claim.py").write_text("def page(results): ...\n")
    (tmp_path / "small/run.yaml").write_text(STEPS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/page.md").write_text("# A page without its claim\n")
    return Small("small", tmp_path)


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
    assert [study.name for study in studies(small.at)] == ["small"]
    assert small.question == "Does it pay?"


def test_steps_run_in_order_until_one_fails(small: StudyFolder, tmp_path: Path):
    data = tmp_path / "with space"
    data.mkdir()
    with pytest.raises(ConfigError, match="step 3 ended with status 3: exit 3"):
        recipe.run(small, [f"data={data}"])
    assert {path.name for path in data.iterdir()} == {"first", "second"}
    assert (data / "second").read_text() == "[{kind: margin}]\n"


def test_a_dry_run_prints_the_commands(small: StudyFolder, capsys: pytest.CaptureFixture[str]):
    recipe.run(small, ["data=/glue", "dry=true"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["# needs: a minute; a folder", "touch /glue/first"]
    assert len(printed) == 5


def test_a_place_must_be_given_and_known(small: StudyFolder):
    with pytest.raises(ConfigError, match=r"^data= must be given$"):
        recipe.run(small, ["dry=true"])
    with pytest.raises(ConfigError, match=r"^only data=, dry= are known, got dta$"):
        recipe.run(small, ["dta=/glue"])


def test_a_step_that_yaml_reads_as_no_text_is_refused(small: StudyFolder):
    (small.folder / "run.yaml").write_text("needs: nothing\nsteps: [{kind: margin}]\n")
    with pytest.raises(ConfigError, match="a step must be text: quote what has a colon"):
        recipe.run(small, [])


def test_a_study_with_a_script_names_it(small: StudyFolder):
    (small.folder / "run.yaml").rename(small.folder / "run.py")
    with pytest.raises(ConfigError, match=r"made by python -m experiments\.small\.run"):
        recipe.run(small, [])
