"""The studies as pages of the site, and links between its pages and the rest of the repository.

On a code host a page of `docs/pages` links to a study as `../../../experiments/pays/page.md`, and a
study to a guide as `../../docs/pages/how-to/adapt.md`. Here both become links of the site. A link
to a file that the site does not have becomes its text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from docs.site.made import ROOT, Page
from experiments.study import StudyFolder, studies

PAGES, EXPERIMENTS = ROOT / "docs/pages", ROOT / "experiments"
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
PICTURE = re.compile(
    r'<picture>\s*<source[^>]*srcset="([^"]+)"[^>]*>\s*<img src="([^"]+)" alt="([^"]*)"[^>]*>\s*'
    r"</picture>"
)
LATE_IN_SEARCH = "---\nsearch: {boost: 0.5}\n---\n"  # guides are to be found before studies
CLONE = """
!!! note "In a clone"
    Commands that begin with `python -m experiments` need a clone:
    `git clone <repository> && cd eat_lightning && make setup`.
"""


def pages() -> list[Page]:
    """The questions with their answers, and each study with its figures, in that order."""
    readme = EXPERIMENTS / "README.md"
    text = on_site(readme)
    ordered = sorted(studies(), key=lambda study: text.find(f"[{study.name}]"))
    index = Page(place_of(readme), text, "Six questions")
    return [index, *(page for study in ordered for page in of_study(study))]


def of_study(study: StudyFolder) -> list[Page]:
    figures = sorted((study.folder / "results").rglob("*.svg"))
    title = study.name.replace("_", " ").capitalize()
    page = Page(place_of(study.page), LATE_IN_SEARCH + on_site(study.page), title)
    return [page, *(Page(place_of(path), path.read_bytes()) for path in figures)]


def place_of(path: Path) -> str:
    """Where the site has a file of the repository; "" where it has it not."""
    inside = path.relative_to(EXPERIMENTS) if path.is_relative_to(EXPERIMENTS) else None
    if path == ROOT / "README.md":
        return "index.md"
    if path.is_relative_to(PAGES):
        return path.relative_to(PAGES).as_posix()
    if inside == Path("README.md"):
        return "studies/index.md"
    known = {study.name for study in studies()}
    shown = inside and inside.parts[0] in known and path.suffix in (".md", ".svg")
    return f"studies/{inside.as_posix()}" if inside and shown else ""


def on_site(page: Path) -> str:
    """The text of a study's page as the site shows it."""
    text = page.read_text("utf-8").replace("<details>", '<details markdown="1">')
    text = PICTURE.sub(r"![\3](\2#only-light)\n![\3](\1#only-dark)", text)
    note = CLONE if "python -m experiments" in text else ""
    return relinked(text, page) + note


def relinked(text: str, page: Path) -> str:
    """A page's text with its links as they are on the site."""

    def again(link: re.Match[str]) -> str:
        mark, words, target, anchor = link.groups(default="")
        if "://" in target:
            return link[0]
        place = place_of((page.parent / target).resolve())
        here = Path(place_of(page)).parent
        return f"{mark}[{words}]({os.path.relpath(place, here)}{anchor})" if place else words

    return LINK.sub(again, text)


def with_studies(text: str, page: Path) -> str:
    """A page of docs/pages with its links to studies; MkDocs knows the others."""

    def again(link: re.Match[str]) -> str:
        return relinked(link[0], page) if "/experiments/" in link[3] else link[0]

    return LINK.sub(again, text)
