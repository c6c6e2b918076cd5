"""The pages beside the claims, with their figures; links that lead out of the site become text."""

from __future__ import annotations

import os
import re
from pathlib import Path

from experiments.site.made import ROOT, Page

EXPERIMENTS = ROOT / "experiments"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
OF_A_CLONE = "python -m experiments"
CLONE = f"""!!! note "In a clone"
    Commands that begin with `{OF_A_CLONE}`, and kept rows, need a clone:
    `git clone <repository> && cd eat_lightning && make setup`.
    From the installed package a claim is `eat report study=<your runs> claims=[<claim>]`.

"""
LAST_IN_SEARCH = "---\nsearch: {boost: 0.5}\n---\n"  # pages that say how come before what came out
HOME = {
    "README.md": "index.md",
    "experiments/README.md": "results/studies.md",
    "experiments/paper.md": "reference/paper.md",
}


def pages() -> list[Page]:
    """A page for each study, what they show, and the paper against ours."""
    found: dict[str, Page] = {}
    for path in filter(is_page, sorted(EXPERIMENTS.rglob("*.md"))):
        place, title = place_of(path), title_of(path)
        found[place] = Page(place, LAST_IN_SEARCH + relinked(path, found), title)
    return list(found.values())


def is_page(path: Path) -> bool:
    """Recognise a page that people wrote; reports that were made lie in results."""
    written = path.suffix == ".md" and "results" not in path.parts
    return written and not path.is_relative_to(EXPERIMENTS / "site")


def title_of(path: Path) -> str | None:
    """Name a page in the navigation; what HOME names has a place there already."""
    if path.relative_to(ROOT).as_posix() in HOME:
        return None
    inside = path.relative_to(EXPERIMENTS).with_suffix("").as_posix().removesuffix("/page")
    return inside.replace("_", " ").replace("/", ", ")


def place_of(path: Path) -> str:
    """Where a file of the repository lies on the site."""
    inside = path.relative_to(ROOT).as_posix()
    return HOME.get(inside) or f"results/{inside.removeprefix('experiments/')}"


def relinked(page: Path, found: dict[str, Page]) -> str:
    """A page's text with its links as they are on the site."""
    return LINK.sub(lambda link: on_site(link, page, found), with_note(page.read_text("utf-8")))


def with_note(text: str) -> str:
    """A page's text, with what its commands need below its title where that is a clone."""
    title, end, rest = text.partition("\n\n")
    return f"{title}{end}{CLONE}{rest}" if OF_A_CLONE in text and text.startswith("# ") else text


def on_site(link: re.Match[str], page: Path, found: dict[str, Page]) -> str:
    """A link as it is on the site; a picture or a report that it names comes along."""
    mark, text, target, anchor = link.groups()
    if "://" in target:
        return link[0]
    path = (page.parent / target).resolve()
    inside = path.is_relative_to(EXPERIMENTS) or path == ROOT / "README.md"
    if not path.is_file() or not inside or path.suffix not in (".md", ".png", ".svg"):
        return text
    place = place_of(path)
    if not is_page(path) and place not in found:
        found[place] = Page(place, "")  # before its own links, which may come back
        is_text = path.suffix == ".md"
        content = LAST_IN_SEARCH + relinked(path, found) if is_text else path.read_bytes()
        found[place] = Page(place, content)
    here = Path(place_of(page)).parent
    return f"{mark}[{text}]({os.path.relpath(place, here)}{anchor or ''})"
