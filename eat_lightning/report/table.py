"""A claim's table as Markdown and on the terminal.

pandas writes Markdown (with tabulate), rich prints to the terminal, and the page's template reads
the same parts. Values that need care are marked, with an explanation below the table.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from pandas import DataFrame

if TYPE_CHECKING:
    from rich.console import Console

Value = float | int | str | None
WIDTH = 160  # where there is no terminal to ask


@dataclass(frozen=True)
class Cell:
    """One value of a table.

    Args:
        value: what the column is sorted by.
        text: what is displayed.
        low, high: ends of the interval, in the unit of `value`.
        flags: short sentences on why the value needs care.
        bold: only for results that an interval supports.
    """

    value: Value
    text: str
    low: float | None = None
    high: float | None = None
    flags: tuple[str, ...] = ()
    bold: bool = False


EMPTY = Cell(None, "")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        help: unit, number of examples, and what it is compared with.
        group: in a table too wide for a page, each group is printed as its own table, after the
            columns without a group.
        cell: makes the column's cell from the item that a line describes.
    """

    key: str
    title: str
    help: str = ""
    numeric: bool = True
    group: str = ""
    cell: Callable[[Any], Cell] = lambda item: EMPTY


@dataclass
class Line:
    """A line of a table: a cell for each column key (a missing one is empty)."""

    cells: dict[str, Cell]
    flags: tuple[str, ...] = ()

    def cell(self, key: str) -> Cell:
        return self.cells.get(key, EMPTY)


@dataclass(frozen=True)
class Marked:
    """A cell with the letters of its flags."""

    cell: Cell
    marks: list[str]

    @property
    def markdown(self) -> str:
        text = self.cell.text.replace("|", "\\|").replace("\n", " ")
        text = f"**{text}**" if self.cell.bold and text else text
        return f"{text} <sup>{','.join(self.marks)}</sup>" if self.marks else text


@dataclass(frozen=True)
class Part:
    """Columns that are printed together, with a `Marked` cell for each line, and an explanation for
    each letter.
    """

    group: str
    columns: list[Column]
    lines: list[list[Marked]]
    notes: dict[str, str]

    def markdown(self) -> str:
        align = ["right" if column.numeric else "left" for column in self.columns]
        titles = [column.title.replace("|", "\\|") for column in self.columns]
        texts = DataFrame(self.lines, columns=titles).map(lambda marked: marked.markdown)
        grid = texts.to_markdown(index=False, colalign=align, disable_numparse=True)
        notes = "  \n".join(f"<sup>{mark}</sup> {flag}" for mark, flag in self.notes.items())
        return joined([f"*{self.group}*" if self.group else "", grid, notes])


@dataclass
class Table:
    """A table; `name` is used for its files, such as frontier-sst2."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    lines: list[Line]

    def show(self, console: Console | None = None) -> None:
        """Print the content of `markdown` on the terminal."""
        from rich.console import Console
        from rich.markdown import Markdown

        console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
        with console.capture() as captured:
            console.print(Markdown(f"**{self.title}**\n\n{self.markdown()}"))
        lines = map(str.rstrip, captured.get().splitlines())
        console.file.write("".join(f"{line}\n" for line in lines))

    def page(self) -> str:
        """Markdown with title, caption and explanations of the columns."""
        helped = [f"* {column.title}: {column.help}" for column in self.columns if column.help]
        head = "<details><summary>Columns</summary>"
        help = "\n".join([head, "", *helped, "", "</details>"]) if helped else ""
        return joined([f"### {self.title}", self.caption, self.markdown(), help]) + "\n"

    def markdown(self) -> str:
        """Markdown without title and caption: a table for each group."""
        if not self.lines:
            return "No lines."
        return joined([self.in_every_line, *(part.markdown() for part in self.parts)])

    @property
    def parts(self) -> list[Part]:
        """Return a part for each non-empty group of columns, or a single part without groups.

        Texts and flags that are equal in every line are left out, see `in_every_line`.
        """
        filled = [c for c in self.columns if any(line.cell(c.key) != EMPTY for line in self.lines)]
        columns = [column for column in filled if not self.is_constant(column)]
        groups = dict.fromkeys(column.group for column in columns if column.group) or [""]
        return [
            self.part([c for c in columns if c.group in ("", group)], group, self.shared_flags)
            for group in groups
        ]

    def part(self, columns: Sequence[Column], group: str = "", shared: Sequence[str] = ()) -> Part:
        """Assign letters to flags in order of appearance. A line's own flags are shown in its first
        cell, without those in `shared`.
        """
        letters = letters_of()
        marks: defaultdict[str, str] = defaultdict(lambda: next(letters))
        lines = []
        for line in self.lines:
            row, flags = [], [flag for flag in line.flags if flag not in shared]
            for column in columns:
                cell = line.cell(column.key)
                row.append(Marked(cell, [marks[flag] for flag in (*flags, *cell.flags)]))
                flags = []
            lines.append(row)
        return Part(group, list(columns), lines, {mark: flag for flag, mark in marks.items()})

    def is_constant(self, column: Column) -> bool:
        """True if a column's text is equal in every line. Numbers never count as constant, because
        they may be what the table is to show.
        """
        cells = [line.cell(column.key) for line in self.lines]
        if column.numeric or len(cells) < 2 or any(c.flags or not c.text for c in cells):
            return False
        return len({cell.text for cell in cells}) == 1

    @property
    def shared_flags(self) -> list[str]:
        """Flags that all lines have."""
        if len(self.lines) < 2:
            return []
        first, *others = self.lines
        return [flag for flag in first.flags if all(flag in line.flags for line in others)]

    @property
    def in_every_line(self) -> str:
        """ "In every line: dtype fp32, threads 1; one seed." """
        same = [column for column in self.columns if self.is_constant(column)]
        words = ", ".join(f"{c.title} {self.lines[0].cell(c.key).text}" for c in same)
        found = [text for text in (words, *self.shared_flags) if text]
        return f"In every line: {'; '.join(found)}." if found else ""


def joined(texts: Sequence[str]) -> str:
    """Join the non-empty texts as paragraphs."""
    return "\n\n".join(text for text in texts if text)


def letters_of() -> Iterator[str]:
    """Yield a, b, ... z, aa, ab, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))
