"""The pages beside the claims, with their figures; links to what the site does not hold are text."""

from __future__ import annotations

import os
import re
from pathlib import Path

from experiments.site.made import ROOT, Page

EXPERIMENTS = ROOT / "experiments"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
HOME = {"README.md": "index.md", "experiments/README.md": "reference/paper.md"}


def pages() -> list[Page]:
    """A page for each study, what they show, and the paper against ours."""
    found: dict[str, Page] = {}
    for path in [EXPERIMENTS / "README.md", *sorted(EXPERIMENTS.rglob("page.md")), EXPERIMENTS / "certify.md"]:
        place = place_of(path)
        title = None if path.name == "README.md" else path.stem if path.stem != "page" else path.parent.name
        text = LINK.sub(lambda link: relinked(link, path, found), path.read_text("utf-8"))
        found[place] = Page(place, text, title and title.replace("_", " "))
    return list(found.values())


def place_of(path: Path) -> str:
    """Where a file of the repository lies on the site."""
    inside = path.relative_to(ROOT).as_posix()
    return HOME.get(inside) or f"results/{inside.removeprefix('experiments/')}"


def relinked(link: re.Match[str], page: Path, found: dict[str, Page]) -> str:
    """A link as it is on the site; a picture or a report that it names comes along."""
    mark, text, target, anchor = link.groups()
    if "://" in target:
        return link[0]
    path = (page.parent / target).resolve()
    on_site = path.is_relative_to(EXPERIMENTS) or path == ROOT / "README.md"
    if not path.is_file() or not on_site or path.suffix not in (".md", ".png", ".svg"):
        return text
    place = place_of(path)
    if path.name not in ("page.md", "README.md", "certify.md"):  # those are pages anyway
        content = path.read_text("utf-8") if path.suffix == ".md" else path.read_bytes()
        if isinstance(content, str):
            found.setdefault(place, Page(place, ""))  # before its own links, which may come back
            content = LINK.sub(lambda inner: relinked(inner, path, found), content)
        found[place] = Page(place, content)
    here = Path(place_of(page)).parent
    return f"{mark}[{text}]({relative(Path(place), here)}{anchor or ''})"


def relative(path: Path, start: Path) -> str:
    return os.path.relpath(path, start)
