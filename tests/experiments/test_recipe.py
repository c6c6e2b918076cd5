"""`python -m experiments run`: a study's commands with the places of this machine filled in."""

from pathlib import Path

import pytest

from eat_lightning.errors import ConfigError
from experiments import recipe, study
from experiments.study import StudyFolder

STEPS = """
needs: a minute; a folder
steps:
  - touch {data}/first
  - "test ${HOME} && echo '[{kind: margin}]' > {data}/second"
  - exit 3
  - touch {data}/never
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.setattr(study, "HERE", tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small/run.yaml").write_text(STEPS)
    return StudyFolder("small")


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
