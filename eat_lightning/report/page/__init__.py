"""The page one sends to a colleague: claims in one HTML file that asks nothing of a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from string import Template
from typing import Any

from eat_lightning.report.claim import Claim
from eat_lightning.report.page.sections import contents, measured_line, section, warning_box
from eat_lightning.report.page.sources import Sources
from eat_lightning.report.page.text import escape

FIRST = "frontier"  # the claim that a reader sees without scrolling
SCRIPTS = ("page.js", "tips.js", "tables.js", "save.js", "explorer.js")
STYLES = ("page.css", "table.css", "explorer.css")

Explorer = Mapping[str, Any]  # as eat_lightning.report.explorer makes it


def render(
    title: str,
    claims: Sequence[Claim],
    explorer: Explorer | None = None,
    warnings: Sequence[str] = (),
    files: Mapping[str, Mapping[str, Path]] | None = None,
) -> str:
    """The page's HTML: claim `frontier` first, the others in their order, then the explorer.

    `files`: for each figure's name the files that are offered as downloads, by extension
    ("png", "pdf"); SVG and CSV are made of the page itself. Texts may hold anything: all of it is
    escaped, and the page's own policy forbids any script but its own and every request.
    """
    ordered = sorted(claims, key=lambda claim: claim.name != FIRST)
    sources = Sources()
    body = [section(claim, sources, files or {}) for claim in ordered]
    style = "".join(map(asset, STYLES))
    script = "".join(map(asset, SCRIPTS))
    return Template(asset("page.html")).substitute(
        policy=policy(style, script),
        style=style,
        script=script,
        title=escape(title),
        measured=escape(measured_line(ordered)),
        contents=contents(ordered, explorer is not None),
        warnings=warning_box(warnings),
        claims="\n".join(body),
        explorer=asset("explorer.html") if explorer is not None else "",
        sources=in_script(sources.found),
        examples=in_script(explorer),
    )


def asset(name: str) -> str:
    return (resources("eat_lightning.report.page") / name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """Nothing is fetched, and nothing runs but this one script. Matplotlib's SVG styles its lines
    by attributes, which can be allowed apart from style sheets."""
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": digest(script),
        "style-src-elem": digest(style),
        "style-src-attr": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def in_script(value: Any) -> str:
    """JSON that cannot end the element it stands in: `</script>` and `<!--` need a `<`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
