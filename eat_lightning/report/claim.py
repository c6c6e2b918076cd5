"""What a claim's script makes of a study: a Claim of tables and figures, all of it from rows.

A script is a file with a function `claim(study) -> Claim`; those of our own are in experiments/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eat_lightning.errors import ConfigError
from eat_lightning.report.provenance import Provenance

if TYPE_CHECKING:
    from eat_lightning.report.figures import Figure

Value = float | int | str | None


@dataclass(frozen=True)
class Cell:
    """One value of a table. `value` is what is sorted by and written to CSV, `text` what is read;
    low and high are an interval's ends, in the unit of `value`. `flags` are short sentences on why
    the value is to be taken with care. Bold only where an interval says so."""

    value: Value
    text: str
    low: float | None = None
    high: float | None = None
    flags: tuple[str, ...] = ()
    bold: bool = False


EMPTY = Cell(None, "")


@dataclass(frozen=True)
class Column:
    """`help` says what is in it: unit, n, and what it is against. A table too wide for a page is
    printed by `group`: the columns without one come before each group's. `cell` makes its cell of
    whatever a line is about."""

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
    source: Provenance
    flags: tuple[str, ...] = ()

    def cell(self, key: str) -> Cell:
        return self.cells.get(key, EMPTY)


@dataclass
class Table:
    """`name` is its file's, such as frontier-sst2."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    lines: list[Line]


@dataclass
class Claim:
    """`answer`: a line or a few that a person takes away, with the numbers in it. `notes`: what a
    reader must know of how it was measured, and what the claim could not say."""

    name: str
    title: str
    answer: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        answer: Iterable[str] = (),
        tables: Iterable[Table] = (),
        figures: Iterable[Figure] = (),
        notes: Iterable[str] = (),
    ) -> None:
        """What it says of one more task; tables without lines are left out."""
        self.answer += answer
        self.tables += [table for table in tables if table.lines]
        self.figures += figures
        self.notes += notes

    def or_lacking(self, need: str) -> Claim:
        """Itself; ConfigError with what it needs where there is nothing to show."""
        if not self.tables:
            raise ConfigError(need)
        return self
