"""Columns with how their cells are made of whatever a line is about, and tables from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from eat_lightning.report import cells
from eat_lightning.report.provenance import Provenance
from eat_lightning.report.study import Point
from eat_lightning.report.table import Cell, Column, Line, Table

Of = Callable[[Any], Any] | str  # a str: the way from an item, such as "entry.gain"

# What columns of several tables say of themselves.
PAIRED = "95 % interval: paired bootstrap over the examples, seeds averaged"
MCNEMAR = "p of McNemar's exact test, two-sided; over seeds the median (lowest to highest)"
REPEATS = "in brackets the lowest and the highest of the repeats, over seeds the extremes"
EXTREMES = "in brackets the extremes of the repeats divided: rather too wide"
TRAINED = "against the static model of that body that was trained for itself"


def getter(of: Of) -> Callable[[Any], Any]:
    """What a column shows of an item, which is a dict or an object; None where it has no such key,
    or where something on the way is None."""
    if not isinstance(of, str):
        return of
    names = of.split(".")

    def get(item: Any) -> Any:
        for name in names:
            known = item.get(name) if isinstance(item, dict) else None
            item = known if item is None or isinstance(item, dict) else getattr(item, name)
        return item

    return get


def shown(
    key: str, title: str, of: Of = "", help: str = "", *, cell: Callable[..., Cell], **how: Any
) -> Column:
    """What `cell` makes of a value, with how it is shown; what is a cell already stays as it is."""
    get = getter(of or key)

    def show(item: Any) -> Cell:
        value = get(item)
        return value if isinstance(value, Cell) else cell(value, **how)

    return Column(key, title, help, cell=show)


count = partial(shown, cell=cells.words)  # a whole number, as it is
interval = partial(shown, cell=cells.interval)  # a `statistics.Interval`
percent = partial(shown, cell=cells.percent)  # a share with its interval
points = partial(shown, cell=cells.points)  # a `compare.Difference`
spread = partial(shown, cell=cells.over_seeds)  # values of seeds: mean ± sd


def word(key: str, title: str, of: Of = "", help: str = "") -> Column:
    return replace(count(key, title, of, help), numeric=False)


def number(key: str, title: str, of: Of = "", digits: int = 2, help: str = "") -> Column:
    return shown(key, title, of, help, cell=cells.number, digits=digits)


def p_value(key: str, of: Of = "", help: str = "") -> Column:
    """The p of a `compare.Difference`."""
    return shown(key, "p", of, help, cell=cells.p_value)


def accuracy(of: Of = "point", help: str = "percent, mean ± sd over seeds") -> Column:
    """That of a setting."""
    return shown("accuracy", "accuracy", of, help, cell=cells.accuracy)


def field(name: str, title: str, digits: int = 2, help: str = "", of: Of = "point") -> Column:
    """A field of rows, its mean over the seeds of a line's setting."""
    get = getter(of)
    return number(name, title, lambda item: get(item).mean(name), digits, help)


def values(name: str, title: str = "", help: str = "", key: str = "", of: Of = "point") -> Column:
    """A field of rows, its different values over seeds."""
    found = shown(key or name, title or name, of, help, cell=cells.several, name=name)
    return replace(found, numeric=False)


def seeds(key: str = "seeds", title: str = "seeds", of: Of = "point") -> Column:
    help = "how many, and in brackets which"
    found = shown(key, title, of, help, cell=cells.seeds)
    return replace(found, numeric=False)


def grouped(group: str, columns: Iterable[Column]) -> list[Column]:
    return [replace(column, group=group) for column in columns]


def table(
    name: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    items: Iterable[Any],
    source: Of = "point",
    flags: Callable[[Any], Iterable[str] | None] | None = None,
) -> Table:
    """A line for each item, with flags such as those under a dict's key of that name. Where its
    source is a setting, one seed alone is flagged."""

    def line(item: Any) -> Line:
        of = getter(source)(item)
        said = flags(item) if flags else item.get("flags") if isinstance(item, dict) else ()
        found = tuple(said or ())
        if isinstance(of, Point) and len(of.members) == 1:
            found = (cells.ONE_SEED, *found)
        return Line({c.key: c.cell(item) for c in columns}, Provenance.of(of), found)

    return Table(name, title, caption, list(columns), list(map(line, items)))


def read(columns: Iterable[Column], keys: Sequence[str], item: Any) -> dict[str, str]:
    """What some columns say of an item, by their titles: to be read at its mark in a figure."""
    by_key = {column.key: column for column in columns}
    return {by_key[key].title: by_key[key].cell(item).text for key in keys}
