"""Columns with how their cells are made of whatever a line is about, and tables from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Column, Line, Mark, Source, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point

Of = Callable[[Any], Any]


def made(key: str, title: str, cell: Callable[[Any], Cell], help: str = "") -> Column:
    return Column(key, title, help, cell=cell)


def word(key: str, title: str, of: Of, help: str = "") -> Column:
    return Column(key, title, help, numeric=False, cell=lambda item: cells.words(of(item)))


def count(key: str, title: str, of: Of, help: str = "") -> Column:
    """A whole number, as it is."""
    return made(key, title, lambda item: cells.words(of(item)), help)


def number(key: str, title: str, of: Of, digits: int = 2, help: str = "") -> Column:
    return made(key, title, lambda item: cells.number(of(item), digits), help)


def interval(
    key: str, title: str, of: Callable[[Any], Interval | None], help: str = "", **how: Any
) -> Column:
    """how: of `cells.interval`."""
    return made(key, title, lambda item: cells.interval(of(item), **how), help)


def percent(
    key: str,
    title: str,
    of: Callable[[Any], Interval | None],
    help: str = "",
    digits: int = 1,
) -> Column:
    """A share with its interval."""
    return made(key, title, lambda item: cells.percent(of(item), digits), help)


def point_of(item: Any) -> Point:
    return item.point


def field(name: str, title: str, digits: int = 2, help: str = "", of: Of = point_of) -> Column:
    """A field of rows, its mean over the seeds of a line's setting."""
    return number(name, title, lambda item: of(item).mean(name), digits, help)


def values(name: str, title: str = "", help: str = "", key: str = "", of: Of = point_of) -> Column:
    """A field of rows, its different values over seeds."""
    found = made(key or name, title or name, lambda item: cells.several(of(item), name), help)
    return replace(found, numeric=False)


def grouped(group: str, columns: Iterable[Column]) -> list[Column]:
    return [replace(column, group=group) for column in columns]


def table(
    name: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    items: Iterable[Any],
    source: Callable[[Any], Source | Point] = point_of,
    flags: Callable[[Any], Iterable[str]] = lambda item: (),
) -> Table:
    """A line for each item. Where its source is a setting, one seed alone is flagged."""

    def line(item: Any) -> Line:
        of, found = source(item), tuple(flags(item))
        if isinstance(of, Point) and len(of.members) == 1:
            found = (cells.ONE_SEED, *found)
        return Line({c.key: c.cell(item) for c in columns}, as_source(of), found)

    return Table(name, title, caption, list(columns), list(map(line, items)))


def mark(gid: str, title: str, of: Source | Point, details: Mapping[str, str]) -> Mark:
    """A mark of a figure; details without a text are left out."""
    shown = tuple((what, text) for what, text in details.items() if text)
    return Mark(gid, title, shown, as_source(of))


def as_source(of: Source | Point) -> Source:
    return source_of(of) if isinstance(of, Point) else of
