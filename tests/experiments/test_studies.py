"""Every study keeps the contract of `experiments.study`: its page and figures follow from the kept
rows, its links lead somewhere, and its folder holds nothing that is not needed."""

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eat_lightning.report import figures
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.runs import jsonl
from eat_lightning.runs.row import Row
from experiments.study import HERE, StudyFolder, studies

ROOT = HERE.parent
STUDIES = {study.name: study for study in studies()}
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src|srcset)=\"([^\"]+)\"")
ALLOWED = {"page.md", "claim.py", "run.yaml", "run.py", "results", "__init__.py"}
every_study = pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
watched: set[Path] | None = None  # what is opened while a claim is made


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        watched is not None
        and event == "open"
        and isinstance(arguments[0], str | bytes | os.PathLike)
    ):
        watched.add(Path(os.fsdecode(arguments[0])).absolute())


sys.addaudithook(watch)


@cache
def made(name: str) -> tuple[Section, frozenset[Path]]:
    """A study's claim, and the files that were opened to make it."""
    global watched
    watched = set()
    try:
        return STUDIES[name].claim, frozenset(watched)
    finally:
        watched = None


def kept(study: StudyFolder, *suffixes: str) -> list[Path]:
    """The files of a study's results that have one of the suffixes, or all."""
    files = (path for path in (study.folder / "results").rglob("*") if path.is_file())
    return sorted(path for path in files if not suffixes or path.suffix in suffixes)


def missing_links(page: Path) -> list[str]:
    """The relative links of a page to a file or a heading that is not there."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [one or other for one, other in LINK.findall(text)]
    return [link for link in links if "://" not in link and not resolves(page, link)]


def resolves(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    path = page.parent / name if name else page
    if not path.exists() or not anchor:
        return path.exists()
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return anchor in map(slug, headings)


def slug(heading: str) -> str:
    """A heading's anchor, as code hosts make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@every_study
def test_the_page_has_the_tables_of_its_rows(study: StudyFolder):
    made(study.name)
    assert study.page.read_text("utf-8") == study.filled()


@every_study
def test_the_figures_are_those_of_its_rows_and_stand_on_the_page(study: StudyFolder):
    claim, _ = made(study.name)
    drawn = {}
    for figure in claim.figures:
        light, dark = figures.pair(figure)
        drawn |= {f"{figure.name}.svg": light, f"{figure.name}-dark.svg": dark}
    assert {p.name: p.read_text("utf-8") for p in kept(study, ".svg", ".png")} == drawn
    page = study.page.read_text("utf-8")
    assert [name for name in drawn if f'"results/{name}"' not in page] == []


@every_study
def test_a_number_in_the_prose_has_its_row(study: StudyFolder):
    made(study.name)
    assert study.numbers_without_rows() == []


@every_study
def test_links_lead_somewhere(study: StudyFolder):
    assert missing_links(study.page) == []


@every_study
def test_the_folder_holds_what_a_study_is_made_of(study: StudyFolder):
    names = {path.name for path in study.folder.iterdir()} - {"__pycache__"}
    assert {"page.md", "claim.py", "results"} <= names
    assert names & {"run.yaml", "run.py"}
    assert [name for name in names - ALLOWED if not name.endswith(".py")] == []


@every_study
def test_every_kept_file_is_used(study: StudyFolder):
    """By the claim or the page; a record may also be named by a row that is read, or by code."""
    _, opened = made(study.name)
    files = kept(study)
    read = [path for path in files if path in opened]
    texts = [*study.folder.glob("*.py"), *(path for path in read if path.suffix == ".jsonl")]
    words = "\n".join(path.read_text("utf-8") for path in [study.page, *texts])
    assert [path.name for path in files if path not in read and path.name not in words] == []


@every_study
def test_kept_lines_are_rows_or_results(study: StudyFolder):
    faults = {path.name: fault_of(path) for path in kept(study, ".jsonl")}
    assert {name: fault for name, fault in faults.items() if fault} == {}


def fault_of(path: Path) -> str:
    first = path.read_text("utf-8").partition("\n")[0]
    _, faults = jsonl.read_whole(path, Result if '"what"' in first else Row)
    return faults[0] if faults else ""


@every_study
def test_records_hold_no_text(study: StudyFolder):
    def texts(path: Path) -> list[str]:
        schema = pq.read_schema(path)
        return [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]

    assert {path.name: found for path in kept(study, ".parquet") if (found := texts(path))} == {}


def test_experiments_are_studies_and_the_list_has_them_all():
    folders = {path.parent.name for path in HERE.glob("*/*") if "__pycache__" not in path.parts}
    listed = re.findall(
        r"^\| \[`?(\w+)`?\]\(", (HERE / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert folders == {*listed} == STUDIES.keys()
    assert len(STUDIES) <= 15


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "experiments/README.md"])
def test_links_of_the_front_pages_lead_somewhere(name: str):
    assert missing_links(ROOT / name) == []
