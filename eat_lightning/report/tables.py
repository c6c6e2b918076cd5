"""A claim's table as CSV, Markdown, LaTeX (booktabs) and on the terminal.

CSV has every raw value. The printed forms show texts; what is to be taken with care has a mark,
with its sentence beneath. A table wider than a page is printed by its columns' groups, the columns
without a group before each; words that are the same in every line are said once, above.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from eat_lightning.report.claim import Cell, Column, Line, Table
from eat_lightning.runs.run import write_text

if TYPE_CHECKING:
    from rich.console import Console

NO_WIDER = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"
EMPTY = Cell(None, "")
WIDTH = 160  # where there is no terminal to ask


def write(table: Table, folder: Path) -> dict[str, Path]:
    """name.csv, name.md and name.tex, each beside and then renamed; by extension."""
    makers = {"csv": csv_text, "md": markdown_file, "tex": latex}
    paths = {kind: folder / f"{table.name}.{kind}" for kind in makers}
    for kind, path in paths.items():
        write_text(path, makers[kind](table))
    return paths


def csv_text(table: Table) -> str:
    """Raw values, an interval's ends in key_low and key_high; then flags, runs, commits and the
    command that measures the line again."""
    keys = [column.key for column in table.columns]
    ranged = {key for key in keys if any(has_interval(cell_of(line, key)) for line in table.lines)}
    head = [name for key in keys for name in names(key, key in ranged)]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, "flags", "runs", "commits", "command"])
    for line in table.lines:
        values = [value for key in keys for value in raw(cell_of(line, key), key in ranged)]
        source = line.source
        writer.writerow(
            [
                *values,
                "; ".join(flags_of(table, line)),
                "; ".join(source.runs),
                "; ".join(source.commits),
                source.command,
            ]
        )
    return text.getvalue()


def cell_of(line: Line, key: str) -> Cell:
    return line.cells.get(key, EMPTY)


def has_interval(cell: Cell) -> bool:
    return cell.low is not None or cell.high is not None


def names(key: str, ranged: bool) -> list[str]:
    return [key, f"{key}_low", f"{key}_high"] if ranged else [key]


def raw(cell: Cell, ranged: bool) -> list[object]:
    return [cell.value, cell.low, cell.high] if ranged else [cell.value]


def flags_of(table: Table, line: Line) -> list[str]:
    """Those of the line, then those of its cells by their column's title."""
    cells = [(column.title, cell_of(line, column.key)) for column in table.columns]
    return [*line.flags, *(f"{title}: {flag}" for title, cell in cells for flag in cell.flags)]


@dataclass(frozen=True)
class Printed:
    """What a printed form shows: a body of (text, marks, bold), and the sentences of the marks."""

    columns: list[Column]
    body: list[list[tuple[str, list[str], bool]]]
    sentences: dict[str, str]


def printed(table: Table, group: str | None = None) -> Printed:
    """The columns of a group and those without one (None: all), with the flags in them marked."""
    columns = [c for c in columns_of(table, group) if says_something(table, c)]
    marks: dict[str, str] = {}
    letters, shared = letters_of(), flags_of_all(table)

    def marked(cell: Cell, flags: tuple[str, ...]) -> tuple[str, list[str], bool]:
        for flag in flags:
            if flag not in marks:
                marks[flag] = next(letters)
        return cell.text, [marks[flag] for flag in flags], cell.bold

    body = []
    for line in table.lines:
        cells = [cell_of(line, c.key) for c in columns]
        own = tuple(flag for flag in line.flags if flag not in shared)
        flags = [(*(own if i == 0 else ()), *cell.flags) for i, cell in enumerate(cells)]
        body.append([marked(cell, flag) for cell, flag in zip(cells, flags, strict=True)])
    return Printed(columns, body, {mark: flag for flag, mark in marks.items()})


def columns_of(table: Table, group: str | None) -> list[Column]:
    wanted = [c for c in table.columns if group is None or c.group in ("", group)]
    return [c for c in wanted if not says_the_same(table, c)]


def flags_of_all(table: Table) -> tuple[str, ...]:
    """Flags that every line has: they are said once, above, and mark none."""
    if len(table.lines) < 2:
        return ()
    first, *others = table.lines
    return tuple(flag for flag in first.flags if all(flag in line.flags for line in others))


def same_in_all(table: Table) -> str:
    """ "In every line: dtype fp32, threads 1; one seed." """
    same = [c for c in table.columns if says_the_same(table, c)]
    told = [f"{c.title} {cell_of(table.lines[0], c.key).text}" for c in same]
    told = [", ".join(told)] if told else []
    told += flags_of_all(table)
    return f"In every line: {'; '.join(told)}." if told else ""


def says_the_same(table: Table, column: Column) -> bool:
    """Words only: a number that is the same everywhere may be what a table is there to show."""
    cells = [cell_of(line, column.key) for line in table.lines]
    if column.numeric or len(cells) < 2 or any(cell.flags or not cell.text for cell in cells):
        return False
    return len({cell.text for cell in cells}) == 1


def says_something(table: Table, column: Column) -> bool:
    return any(cell_of(line, column.key) != EMPTY for line in table.lines)


def letters_of() -> Iterator[str]:
    """a, b, ... z, aa, ab, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def groups_of(table: Table) -> list[str | None]:
    """The groups that have something to print, in their order; [None] where there are none."""
    groups = dict.fromkeys(column.group for column in table.columns if column.group)
    found = [
        name
        for name in groups
        if any(c.group and says_something(table, c) for c in columns_of(table, name))
    ]
    return [*found] or [None]


def markdown_file(table: Table) -> str:
    parts = [f"### {table.title}", table.caption, to_markdown(table), markdown_help(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_markdown(table: Table, group: str | None = None) -> str:
    """Without title and caption: a table of each group, or of the one that is named."""
    if not table.lines:
        return "No lines."
    groups = groups_of(table) if group is None else [group]
    parts = [same_in_all(table)]
    for name in groups:
        parts += [f"*{name}*" if name and len(groups) > 1 else ""]
        parts.append(markdown_part(printed(table, name)))
    return "\n\n".join(part for part in parts if part)


def markdown_part(shown: Printed) -> str:
    def cell(text: str, marks: list[str], bold: bool) -> str:
        text = text.replace("|", "\\|").replace("\n", " ")
        text = f"**{text}**" if bold and text else text
        return text + (f" <sup>{','.join(marks)}</sup>" if marks else "")

    heads = [column.title.replace("|", "\\|") for column in shown.columns]
    rules = ["---:" if column.numeric else "---" for column in shown.columns]
    rows = [[cell(*entry) for entry in row] for row in shown.body]
    lines = [f"| {' | '.join(row)} |" for row in [heads, rules, *rows]]
    sentences = [f"<sup>{mark}</sup> {flag}" for mark, flag in shown.sentences.items()]
    return "\n".join(lines) + ("\n\n" + "  \n".join(sentences) if sentences else "")


def markdown_help(table: Table) -> str:
    lines = [f"* {column.title}: {column.help}" for column in table.columns if column.help]
    head = "<details><summary>What the columns say</summary>"
    return "\n".join([head, "", *lines, "", "</details>"]) if lines else ""


def latex(table: Table) -> str:
    """A table environment for each group, made smaller where it is wider than the text:
    `\\usepackage{booktabs,graphicx}` is all it needs."""
    parts = [latex_part(table, printed(table, name), name) for name in groups_of(table)]
    return "\n".join(parts)


def latex_part(table: Table, shown: Printed, group: str | None) -> str:
    def cell(text: str, marks: list[str], bold: bool) -> str:
        text = rf"\textbf{{{escaped(text)}}}" if bold and text else escaped(text)
        return text + (rf"\textsuperscript{{{','.join(marks)}}}" if marks else "")

    aligned = "".join("r" if column.numeric else "l" for column in shown.columns)
    heads = [escaped(column.title) for column in shown.columns]
    rows = [[cell(*entry) for entry in row] for row in shown.body]
    title = f"{table.title}{f' ({group})' if group else ''}."
    caption = " ".join(part for part in (title, table.caption, same_in_all(table)) if part)
    label = "-".join(part for part in (f"tab:{table.name}", group) if part).replace(" ", "-")
    marks = shown.sentences.items()
    notes = [rf"\par\textsuperscript{{{mark}}} {escaped(flag)}" for mark, flag in marks]
    lines = [
        *(
            r"\begin{table}[t]",
            r"\centering",
            r"\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escaped(caption)}}}",
        ),
        *(rf"\label{{{label}}}", NO_WIDER, rf"\begin{{tabular}}{{{aligned}}}", r"\toprule"),
        *(" & ".join(heads) + r" \\", r"\midrule"),
        *(" & ".join(row) + r" \\" for row in rows),
        *(r"\bottomrule", r"\end{tabular}}"),
        *([r"\begin{flushleft}\scriptsize", *notes, r"\end{flushleft}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


LATEX = {
    **{c: "\\" + c for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", "²": "$^2$"},
    **{"Δ": r"$\Delta$", "τ": r"$\tau$", "≥": r"$\ge$", "≤": r"$\le$"},
}


def escaped(text: str) -> str:
    """For LaTeX: every character that means something there, those pdflatex does not know, and
    the minus of a number, which is longer than a hyphen."""
    text = "".join(LATEX.get(c, c) for c in text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)


def show(table: Table, console: Console | None = None) -> None:
    """On the terminal: title, table by groups, what the marks say."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(Text(table.title, style="bold"))
    if same := same_in_all(table):
        console.print(Text(same, style="dim"))
    for name in groups_of(table):
        shown = printed(table, name)
        console.print(Text(name or "", style="italic"), end="\n" if name else "")
        console.print(grid(shown))
        for mark, flag in shown.sentences.items():
            console.print(Text(f" {mark} {flag}", style="dim"))
    console.print()


def grid(shown: Printed) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid
    from rich.text import Text

    def cell(text: str, marks: list[str], bold: bool) -> Text:
        found = Text(text, style="bold" if bold else "")
        return found.append(f" {','.join(marks)}", style="yellow") if marks else found

    grid = Grid(box=SIMPLE_HEAD)
    for column in shown.columns:
        grid.add_column(Text(column.title), justify="right" if column.numeric else "left")
    for row in shown.body:
        grid.add_row(*(cell(*entry) for entry in row))
    return grid
