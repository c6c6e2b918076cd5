"""Report of an adaptation for a person."""

from __future__ import annotations

from eat_lightning.deploy.adapt.folder import Result, cells

HEADS = {
    "name": "",
    "one": "ms, 1 at once",
    "many": "ms, 32 at once",
    "changed": "changed",
    "verdict": "certificate",
}


def table(result: Result) -> str:
    """All candidates, a line each."""
    rows = [HEADS, *(cells(candidate) for candidate in result.candidates)]
    widths = {key: max(len(row[key]) for row in rows) for key in HEADS}
    lines = (
        "  ".join(
            [
                row["name"].ljust(widths["name"]),
                *(row[k].rjust(widths[k]) for k in HEADS if k != "name"),
            ]
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
