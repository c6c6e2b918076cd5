"""Files of the site that are made from the code, the configs or kept results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eat_lightning.report.figures import Figure, pair

ROOT = Path(__file__).parents[2]
SCHEMES = ("light", "dark")


@dataclass(frozen=True)
class Page:
    """One file of the site.

    Args:
        path: below the site's root.
        title: in the navigation; None where the file has no place in it.
        section: heading of the navigation under which the title stands.
    """

    path: str
    content: str | bytes
    title: str | None = None
    section: str = ""


def drawn(figure: Figure, folder: str) -> list[Page]:
    """A matplotlib figure as two SVGs in a folder of the site."""
    return in_schemes(figure.name, pair(figure), folder)


def in_schemes(name: str, svgs: tuple[str, ...], folder: str) -> list[Page]:
    """The SVGs of one picture for each of `SCHEMES`."""
    found = zip(SCHEMES, svgs, strict=True)
    return [Page(f"{folder}/{name}-{scheme}.svg", svg.encode()) for scheme, svg in found]


def shown(title: str, path: str) -> str:
    """Markdown of a picture in both schemes; the theme shows the one that fits its switch."""
    return "\n".join(f"![{title}]({path}-{scheme}.svg#only-{scheme})" for scheme in SCHEMES)


def filled(template: Path, data: Any) -> str:
    """A page that stands alone, with its data and the script that follows the site's switch
    between light and dark."""
    text = json.dumps(data).replace("</", "<\\/")  # which would end the script
    follow = template.with_name("follow.js").read_text("utf-8").rstrip()
    return template.read_text("utf-8").replace("{{FOLLOW}}", follow).replace("{{DATA}}", text)
