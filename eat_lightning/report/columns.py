"""A table from one list: each column with how its cells are made of whatever a line is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Column, Line, Mark, Source, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point

T = TypeVar("T")


@dataclass(frozen=True)
class Made(Generic[T]):
    """A column, and how the cell of one item is made. See `Column` for the other fields."""

    key: str
    title: str
    cell: Callable[[T], Cell]
    help: str = ""
    numeric: bool = True
    group: str = ""

    @property
    def column(self) -> Column:
        return Column(self.key, self.title, self.help, self.numeric, self.group)


def word(key: str, title: str, of: Callable[[T], Any], help: str = "", group: str = "") -> Made[T]:
    return Made(key, title, lambda item: cells.words(of(item)), help, False, group)


def number(
    key: str, title: str, of: Callable[[T], float | None], digits: int = 2, help: str = ""
) -> Made[T]:
    return Made(key, title, lambda item: cells.number(of(item), digits), help)


def conditions(of: Callable[[T], Point], *keys: str, group: str = "") -> list[Made[T]]:
    """Columns of fields of rows, such as commit: their different values over seeds."""
    return [
        Made(key, key, lambda item, key=key: cells.several(of(item), key), "", False, group)
        for key in keys
    ]


def table(
    name: str,
    title: str,
    caption: str,
    columns: Sequence[Made[T]],
    items: Iterable[T],
    source: Callable[[T], Source | Point],
    flags: Callable[[T], Sequence[str]] = lambda item: (),
) -> Table:
    """A line for each item. Where its source is a setting, one seed alone is flagged."""

    def line(item: T) -> Line:
        of, found = source(item), tuple(flags(item))
        if isinstance(of, Point):
            found = (cells.ONE_SEED, *found) if len(of.members) == 1 else found
            of = source_of(of)
        return Line({made.key: made.cell(item) for made in columns}, of, found)

    return Table(name, title, caption, [made.column for made in columns], list(map(line, items)))


def percent_cell(share: Interval | None, digits: int = 1) -> Cell:
    """A share with its interval: "62.5 (30.6 to 86.3)"."""
    if share is None:
        return cells.EMPTY
    each = share.times(100)
    text = " to ".join(f"{end:.{digits}f}" for end in (each.low, each.high))
    return Cell(each.value, f"{each.value:.{digits}f} ({text})", each.low, each.high)


@dataclass(frozen=True)
class Dot:
    """A mark of a figure at x, with its interval in the axis' own unit and what is read at it."""

    mark: Mark
    x: float
    y: Interval
    look: dict[str, Any]

    def draw(self, ax: Any) -> None:
        color, alpha = self.look["color"], 0.5 * self.look.get("alpha", 1.0)
        ax.plot([self.x] * 2, [self.y.low, self.y.high], color=color, alpha=alpha, linewidth=0.9)
        look = {"markersize": 4.5, "linestyle": "", "mew": 0, "zorder": 3} | self.look
        ax.plot(self.x, self.y.value, **look)[0].set_gid(self.mark.gid)
