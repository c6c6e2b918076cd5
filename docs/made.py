"""A file of the site that is made from the code, the configs or the kept results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """path: below the site's root. title: in the navigation, None for what is not a page of it.
    section: the heading there under which it stands."""

    path: str
    content: str | bytes
    title: str | None = None
    section: str = ""


def filled(template: Path, data: Any) -> str:
    """A page that stands alone, with its data and the script with which it follows the site's own
    switch between light and dark."""
    text = json.dumps(data).replace("</", "<\\/")  # which would end the script
    follow = template.with_name("follow.js").read_text("utf-8").rstrip()
    return template.read_text("utf-8").replace("{{FOLLOW}}", follow).replace("{{DATA}}", text)
