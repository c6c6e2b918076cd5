"""Words and addresses inside HTML: everything that came from outside is escaped here."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

__all__ = ["data_address", "escape", "file_address", "inline_svg", "slug"]

TYPES = {
    "png": "image/png",
    "pdf": "application/pdf",
    "svg": "image/svg+xml",
    "csv": "text/csv;charset=utf-8",
}


def data_address(content: bytes, extension: str) -> str:
    kind = TYPES.get(extension, "application/octet-stream")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def file_address(path: Path) -> str:
    return data_address(path.read_bytes(), path.suffix.lstrip("."))


def slug(name: str) -> str:
    """A name as an id in the page: letters, digits, `-`, `_` and `.` stay."""
    return re.sub(r"[^\w.-]+", "-", name)


def inline_svg(svg: str) -> str:
    """Only the drawing: what stands before `<svg`, metadata, and style sheets go, since a sheet of
    one drawing would hold for the whole page."""
    drawing = svg[svg.index("<svg") :]
    for name in ("metadata", "style"):
        drawing = re.sub(rf"<{name}\b.*?</{name}>|<{name}\b[^>]*/>", "", drawing, flags=re.DOTALL)
    return drawing.strip()
