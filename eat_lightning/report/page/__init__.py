"""A self-contained HTML page of claims to share, which needs no network.

`page.html` (Jinja, with everything escaped) is its template; this module fills it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report import figures
from eat_lightning.report.figures import Figure
from eat_lightning.report.section import Section
from eat_lightning.report.table import Cell

SCRIPTS = ("page.js", "tables.js", "explorer.js")
STYLES = ("page.css", "table.css", "explorer.css")
MEASURED = ("dtype", "device", "machine")  # keys of columns whose texts need no unit
Explorer = Mapping[str, Any]  # as eat_lightning.report.explorer makes it


def render(
    title: str,
    claims: Sequence[Section],
    explorer: Explorer | None = None,
    warnings: Sequence[str] = (),
    findings: Sequence[str] = (),
    lacking: Sequence[str] = (),
) -> str:
    """Return the page's HTML: the claims in order, then the explorer.

    All texts are escaped, and the page's content security policy forbids every request and all
    scripts except its own.

    Args:
        findings: short sentences at the top.
        lacking: claims that were not made, with what each needs.
    """
    style, script = "".join(map(asset, STYLES)), "".join(map(asset, SCRIPTS))
    return template().render(
        title=title,
        policy=policy(style, script),
        style=style,
        script=script,
        measured=measured_line(claims),
        warnings=warnings,
        claims=claims,
        explorer=explorer,
        findings=findings,
        lacking=lacking,
    )


def template() -> Any:
    """Return `page.html` with the functions that it calls."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    jinja.filters |= {"slug": slug, "value_and_interval": value_and_interval}
    jinja.globals |= {"head_of": head_of, "images": images}
    return jinja.get_template("page.html")


def asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """Return a content security policy that forbids all requests, and every script and style sheet
    but these. Style attributes are allowed, because figures and the explorer need them.
    """
    return (
        f"default-src 'none'; img-src data:; script-src {digest(script)}; "
        f"style-src-elem {digest(style)}; style-src-attr 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'"
    )


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def images(figure: Figure) -> dict[str, str]:
    """Return data URLs of a figure's images for light and for dark pages."""
    svgs = (base64.b64encode(svg.encode()).decode() for svg in figures.pair(figure))
    light, dark = (f"data:image/svg+xml;base64,{svg}" for svg in svgs)
    return {"light": light, "dark": dark}


def slug(name: str) -> str:
    """Return a name as an id of the page; letters, digits, `-`, `_` and `.` are kept."""
    return re.sub(r"[^\w.-]+", "-", name)


def measured_line(claims: Sequence[Section]) -> str:
    """Return "872 examples · 3 seeds · 1 thread · fp32 · cpu", from the first claim's tables."""
    lines = [line for claim in claims[:1] for table in claim.tables for line in table.lines]

    def texts(key: str) -> list[str]:
        found = dict.fromkeys(line.cell(key).text for line in lines)
        return [text for text in found if text]

    seeds = sorted({len(text.split(", ")) for text in texts("seed")})
    counted = {
        "example": " / ".join(texts("num_examples")),
        "seed": " to ".join(map(str, dict.fromkeys([*seeds[:1], *seeds[-1:]]))),
        "thread": " / ".join(texts("threads")),
    }
    parts = [f"{n} {unit if n == '1' else unit + 's'}" for unit, n in counted.items() if n]
    return " · ".join([*parts, *(" / ".join(texts(key)) for key in MEASURED if texts(key))])


def head_of(line: str) -> tuple[str, str]:
    """Split an answer into its subject and the rest: "sst2, minilm: 1.9 times as fast ..."."""
    head, colon, rest = line.partition(": ")
    return (head, rest) if colon and len(head) <= 48 else ("", line)


def value_and_interval(cell: Cell) -> tuple[str, str]:
    """Split "1.94 (1.88 to 1.99)" into value and interval. If the text has no interval, the cell's
    is formatted with as many digits.
    """
    if found := re.fullmatch(r"(.+?) \(([^()]+ to [^()]+)\)", cell.text):
        return found[1], found[2]
    if cell.low is None or cell.high is None or cell.low == cell.high or not cell.text:
        return cell.text, ""
    decimals = re.search(r"\.(\d+)", cell.text)
    digits = len(decimals[1]) if decimals else 0
    return cell.text, f"{cell.low:.{digits}f} to {cell.high:.{digits}f}".replace("-", "\u2212")
