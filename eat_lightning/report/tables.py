"""A claim's table as CSV, Markdown, LaTeX (booktabs) and on the terminal.

CSV has every raw value. The printed forms show texts; what is to be taken with care has a mark,
with its sentence beneath. A table wider than a page is printed by its columns' groups, the columns
without a group before each; words that are the same in every line are said once, above.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from pandas import DataFrame

from eat_lightning.report.claim import EMPTY, Cell, Column, Line, Table
from eat_lightning.runs.run import write_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

KINDS = ("csv", "md", "tex")
WIDTH = 160  # where there is no terminal to ask


def write(table: Table, folder: Path, kinds: Sequence[str] = KINDS) -> dict[str, Path]:
    """Write name.csv, name.md and name.tex, each beside and then renamed; by extension."""
    makers = {"csv": csv_text, "md": markdown_file, "tex": latex}
    paths = {kind: folder / f"{table.name}.{kind}" for kind in kinds}
    for kind, path in paths.items():
        write_text(path, makers[kind](table))
    return paths


def csv_text(table: Table) -> str:
    """Raw values, an interval's ends in key_low and key_high; then flags, runs, commits and the
    command that measures the line again."""
    found: dict[str, list[object]] = {}
    for column in table.columns:
        cells = [line.cell(column.key) for line in table.lines]
        found[column.key] = [cell.value for cell in cells]
        if any(cell.low is not None or cell.high is not None for cell in cells):
            found[f"{column.key}_low"] = [cell.low for cell in cells]
            found[f"{column.key}_high"] = [cell.high for cell in cells]
    found["flags"] = ["; ".join(flags_of(table, line)) for line in table.lines]
    found["runs"] = ["; ".join(line.source.runs) for line in table.lines]
    found["commits"] = ["; ".join(line.source.commits) for line in table.lines]
    found["command"] = [line.source.command for line in table.lines]
    return DataFrame(found, dtype=object).to_csv(index=False, lineterminator="\n")


def flags_of(table: Table, line: Line) -> list[str]:
    """Those of the line, then those of its cells by their column's title."""
    cells = [(column.title, line.cell(column.key)) for column in table.columns]
    return [*line.flags, *(f"{title}: {flag}" for title, cell in cells for flag in cell.flags)]


@dataclass(frozen=True)
class Shown:
    """A cell, and the letters of its flags."""

    cell: Cell
    marks: list[str]


@dataclass(frozen=True)
class Part:
    """What is printed of a table at once: `rows` has a `Shown` for each column, `notes` the
    sentence of each mark."""

    group: str
    columns: list[Column]
    rows: list[list[Shown]]
    notes: dict[str, str]


def parts(table: Table) -> list[Part]:
    """One for each group of columns that has something to print, one where there are no groups."""
    columns = [c for c in filled_columns(table) if not says_the_same(table, c)]
    groups = dict.fromkeys(c.group for c in columns if c.group) or [""]
    shared = flags_of_all(table)
    return [
        part_of(table, [c for c in columns if c.group in ("", group)], group, shared)
        for group in groups
    ]


def part_of(
    table: Table, columns: list[Column], group: str = "", shared: Sequence[str] = ()
) -> Part:
    """Letter the flags in the order in which they are met; a line's stand in its first cell,
    without those in `shared`."""
    letters = letters_of()
    marks: defaultdict[str, str] = defaultdict(lambda: next(letters))
    rows = []
    for line in table.lines:
        row, own = [], [flag for flag in line.flags if flag not in shared]
        for column in columns:
            cell = line.cell(column.key)
            row.append(Shown(cell, [marks[flag] for flag in (*own, *cell.flags)]))
            own = []
        rows.append(row)
    return Part(group, columns, rows, {mark: flag for flag, mark in marks.items()})


def letters_of() -> Iterator[str]:
    """a, b, ... z, aa, ab, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def filled_columns(table: Table) -> list[Column]:
    """Those in which some line has something."""
    return [c for c in table.columns if any(line.cell(c.key) != EMPTY for line in table.lines)]


def says_the_same(table: Table, column: Column) -> bool:
    """Words only: a number that is the same everywhere may be what a table is there to show."""
    cells = [line.cell(column.key) for line in table.lines]
    if column.numeric or len(cells) < 2 or any(cell.flags or not cell.text for cell in cells):
        return False
    return len({cell.text for cell in cells}) == 1


def flags_of_all(table: Table) -> list[str]:
    """Flags that every line has: they are said once, above, and mark none."""
    if len(table.lines) < 2:
        return []
    first, *others = table.lines
    return [flag for flag in first.flags if all(flag in line.flags for line in others)]


def same_in_all(table: Table) -> str:
    """ "In every line: dtype fp32, threads 1; one seed." """
    same = [c for c in table.columns if says_the_same(table, c)]
    words = ", ".join(f"{c.title} {table.lines[0].cell(c.key).text}" for c in same)
    found = [text for text in (words, *flags_of_all(table)) if text]
    return f"In every line: {'; '.join(found)}." if found else ""


def markdown_file(table: Table) -> str:
    helped = [f"* {column.title}: {column.help}" for column in table.columns if column.help]
    head = "<details><summary>What the columns say</summary>"
    help = "\n".join([head, "", *helped, "", "</details>"]) if helped else ""
    texts = [f"### {table.title}", table.caption, to_markdown(table), help]
    return "\n\n".join(text for text in texts if text) + "\n"


def to_markdown(table: Table) -> str:
    """Without title and caption: a table of each group."""
    if not table.lines:
        return "No lines."
    found = [same_in_all(table)]
    for part in parts(table):
        heads = [column.title.replace("|", "\\|") for column in part.columns]
        rules = ["---:" if column.numeric else "---" for column in part.columns]
        rows = [heads, rules, *(map(markdown_cell, row) for row in part.rows)]
        found.append(f"*{part.group}*" if part.group else "")
        found.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        found.append("  \n".join(f"<sup>{mark}</sup> {flag}" for mark, flag in part.notes.items()))
    return "\n\n".join(text for text in found if text)


def marked_up(shown: Shown, text: str, bold: str, mark: str) -> str:
    text = bold % text if shown.cell.bold and text else text
    return text + (mark % ",".join(shown.marks) if shown.marks else "")


def markdown_cell(shown: Shown) -> str:
    text = shown.cell.text.replace("|", "\\|").replace("\n", " ")
    return marked_up(shown, text, "**%s**", " <sup>%s</sup>")


LATEX_PART = r"""\begin{table}[t]
\centering
\footnotesize\setlength{\tabcolsep}{3pt}
\caption{%s}
\label{%s}
\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%%
\begin{tabular}{%s}
\toprule
%s
\bottomrule
\end{tabular}
}
%s\end{table}
"""


def latex(table: Table) -> str:
    """A table environment for each group, made smaller where it is wider than the text:
    `\\usepackage{booktabs,graphicx}` is all it needs."""
    return "\n".join(latex_part(table, part) for part in parts(table))


def latex_part(table: Table, part: Part) -> str:
    aligned = "".join("r" if column.numeric else "l" for column in part.columns)
    rows = [map(latex_cell, row) for row in part.rows]
    heads = [escaped(column.title) for column in part.columns]
    head, *lines = (rf"{' & '.join(row)} \\" for row in (heads, *rows))
    title = f"{table.title} ({part.group})." if part.group else f"{table.title}."
    caption = " ".join(text for text in (title, table.caption, same_in_all(table)) if text)
    label = f"tab:{table.name}-{part.group}".rstrip("-").replace(" ", "-")
    marks = part.notes.items()
    notes = [rf"\par\textsuperscript{{{mark}}} {escaped(flag)}" for mark, flag in marks]
    if notes:
        notes = [r"\begin{flushleft}\scriptsize", *notes, r"\end{flushleft}", ""]
    body = "\n".join([head, r"\midrule", *lines])
    return LATEX_PART % (escaped(caption), label, aligned, body, "\n".join(notes))


def latex_cell(shown: Shown) -> str:
    return marked_up(shown, escaped(shown.cell.text), r"\textbf{%s}", r"\textsuperscript{%s}")


LATEX = str.maketrans(
    {character: "\\" + character for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", "²": "$^2$"}
    | {"Δ": r"$\Delta$", "τ": r"$\tau$", "≥": r"$\ge$", "≤": r"$\le$"}
)


def escaped(text: str) -> str:
    """Escape for LaTeX; a number's minus becomes one, which is longer than a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text.translate(LATEX))


def show(table: Table, console: Console | None = None) -> None:
    """On the terminal: title, table by groups, what the marks say."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(Text(table.title, style="bold"))
    if same := same_in_all(table):
        console.print(Text(same, style="dim"))
    for part in parts(table):
        console.print(Text(part.group, style="italic"), end="\n" if part.group else "")
        grid = Grid(box=SIMPLE_HEAD)
        for column in part.columns:
            grid.add_column(Text(column.title), justify="right" if column.numeric else "left")
        for row in part.rows:
            grid.add_row(*map(terminal_cell, row))
        console.print(grid)
        for mark, flag in part.notes.items():
            console.print(Text(f" {mark} {flag}", style="dim"))
    console.print()


def terminal_cell(shown: Shown) -> Text:
    from rich.text import Text

    text = Text(shown.cell.text, style="bold" if shown.cell.bold else "")
    return text.append(f" {','.join(shown.marks)}", style="yellow") if shown.marks else text
