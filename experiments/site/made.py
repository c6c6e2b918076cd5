"""A file of the site that is made from the code, the configs or the kept results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = "https://github.com/eat-lightning/eat_lightning/blob/main/"


@dataclass(frozen=True)
class Page:
    """path: below the site's root. title: in the navigation, None for what is not a page of it.
    section: the heading there under which it stands."""

    path: str
    content: str | bytes
    title: str | None = None
    section: str = ""
