"""Both benches' report: tables in Markdown and on the terminal, figures in SVG."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.runs.run import write_text

if TYPE_CHECKING:
    from pandas import DataFrame


def ranged(interval: Sequence[float], digits: int = 2) -> str:
    value, low, high = interval
    return f"{value:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def markdown(table: DataFrame) -> str:
    """Words to the left, what begins with a digit to the right."""
    rows = [list(map(str, row)) for row in table.fillna("").itertuples(index=False)]
    sides = [
        "---:" if all(not row[i] or row[i][0] in "-0123456789≤≥" for row in rows) else "---"
        for i in range(table.shape[1])
    ]
    lines = [list(table.columns), sides, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def constants_above(table: DataFrame) -> str:
    """Markdown in which words that are the same in every line stand in a sentence above."""
    same = [name for name, count in table.nunique().items() if count == 1 < len(table)]
    words = [f"{name} {table[name].iloc[0]}" for name in same]
    above = f"In every line: {', '.join(words)}.\n\n" if words else ""
    return above + markdown(table.drop(columns=same))


def write_report(path: Path, title: str, parts: Iterable[str]) -> None:
    write_text(path, "\n\n".join([f"# {title}", *parts]) + "\n")


def draw(path: Path, size: tuple[float, float], fill: Callable[[Any], None]) -> str:
    """Save a figure that `fill` draws, in the house style; return the line that shows it in a
    Markdown file of the same folder."""
    from eat_lightning.report.figures import Figure, save

    save(Figure(path.stem, "", "", fill, size), path.parent, ["svg"])
    return f"![{path.stem}]({path.name})"


def processor(machine: str) -> str:
    """The processor's name alone: "Intel Xeon" of "Intel(R) Xeon(R) Processor x2"."""
    return re.sub(r"\(R\)| Processor| x\d+$", "", machine)
