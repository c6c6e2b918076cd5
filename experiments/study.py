"""A study of this repository: one folder with `page.md`, `claim.py`, `run.yaml` or `run.py`, and
`results/`.

`claim.py` has a function `page(results: Path) -> Section`, which makes every table and figure of
the page from the rows in `results/`. In `page.md` a table stands between `<!-- rows: NAME -->` and
`<!-- end -->`, and `python -m experiments STUDY` writes it there. Numbers in the prose must stand
in the claim's tables, answers, notes or facts (`tests/experiments/test_studies.py`).
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from eat_lightning.errors import ConfigError
from eat_lightning.files import write_text
from eat_lightning.report import figures
from eat_lightning.report.section import Section

HERE = Path(__file__).parent
TABLE = re.compile(r"(<!-- rows: ([\w.-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*\.\d+|(?<![\w.])\d[\d,]*(?= %| points)")


@dataclass(frozen=True)
class StudyFolder:
    """One study, by the name of its folder. at: where it lies."""

    name: str
    at: Path = HERE

    @property
    def folder(self) -> Path:
        return self.at / self.name

    @property
    def page(self) -> Path:
        return self.folder / "page.md"

    @property
    def makes_its_page(self) -> bool:
        script = self.folder / "claim.py"
        return script.is_file() and "def page(" in script.read_text("utf-8")

    @property
    def question(self) -> str:
        """The title of its page."""
        return self.page.read_text("utf-8").partition("\n")[0].removeprefix("# ")

    @cached_property
    def claim(self) -> Section:
        """Its tables and figures, made from the kept rows."""
        module = importlib.import_module(f"experiments.{self.name}.claim")
        return module.page(self.folder / "results")

    def filled(self) -> str:
        """The page with its tables made again."""

        def again(match: re.Match[str]) -> str:
            return f"{match[1]}{self.claim.table(match[2]).markdown()}\n{match[4]}"

        return TABLE.sub(again, self.page.read_text("utf-8"))

    def write(self) -> None:
        """Write tables into the page and figures, light and dark, into `results/`."""
        write_text(self.page, self.filled())
        for figure in self.claim.figures:
            figures.save_pair(figure, self.folder / "results")

    def numbers_without_rows(self) -> list[str]:
        """Numbers of the page's prose that no table, answer, note or fact of the claim has."""
        prose = CODE.sub("", TABLE.sub("", self.page.read_text("utf-8")))
        prose = re.sub(r"\]\([^)]*\)|<[^>]+>", "", prose)  # addresses and tags
        found = self.claim
        lines = [line for table in found.tables for line in table.lines]
        words = [cell.text for line in lines for cell in line.cells.values()]
        words += [*(table.caption for table in found.tables), *found.answer, *found.notes]
        known = set(NUMBER.findall(" % ".join([*words, *found.facts, ""])))
        return [number for number in NUMBER.findall(prose) if number not in known]


def studies(at: Path = HERE) -> list[StudyFolder]:
    """All studies in a folder, by name."""
    found = [StudyFolder(path.parent.name, at) for path in sorted(at.glob("*/page.md"))]
    return [study for study in found if study.makes_its_page]


def given_of(
    words: Sequence[str], keys: Sequence[str], needs: Sequence[str] = ()
) -> dict[str, Any]:
    """The `key=value` words of a study's command by key, values read as YAML.

    Raises ConfigError for an unknown key, and for one of `needs` that is not given.
    """
    pairs = (word.partition("=") for word in words)
    given = {key: yaml.safe_load(value) for key, _, value in pairs}
    if unknown := sorted(given.keys() - {*needs, *keys}):
        known = ", ".join(f"{key}=" for key in (*needs, *keys))
        raise ConfigError(f"only {known} are known, got {unknown[0]}")
    if lacking := [key for key in needs if key not in given]:
        raise ConfigError(f"{lacking[0]}= must be given")
    return given


def run_step(words: Sequence[str], *steps: Callable[..., Any]) -> None:
    """Call the step that the first word names; the `key=value` words behind it are its arguments.

    Raises ConfigError for an unknown step or word, and for an argument that is lacking.
    """
    known = {step.__name__: step for step in steps}
    name = words[0] if words else ""
    if name not in known:
        raise ConfigError(f"a step must be one of {', '.join(known)}, got {name!r}")
    arguments = inspect.signature(known[name]).parameters.values()
    needs = [each.name for each in arguments if each.default is each.empty]
    keys = [each.name for each in arguments if each.name not in needs]
    known[name](**given_of(words[1:], keys, needs))
