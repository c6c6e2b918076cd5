"""Table columns with functions that fill their cells, and tables made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from eat_lightning.report import cells
from eat_lightning.report.result import Result
from eat_lightning.report.study import Mark
from eat_lightning.report.table import Cell, Column, Line, Table

Of = Callable[[Any], Any] | str  # a str: the way from an item, such as "entry.gain"

# What columns of several tables say of themselves.
PAIRED = "95 % interval: paired bootstrap over the examples, seeds averaged"
MCNEMAR = "p of McNemar's exact test, two-sided; over seeds the median (lowest to highest)"


def getter(of: Of) -> Callable[[Any], Any]:
    """Return a function that reads a value from an item, which is a dict or an object.

    It returns None where a dict or a `Result` has no such key, or where a part of the path is None.
    """
    if not isinstance(of, str):
        return of
    names = of.split(".")

    def get(item: Any) -> Any:
        for name in names:
            known = item.get(name) if isinstance(item, dict) else None
            if isinstance(item, Result):
                known = item[name]
            plain = item is None or isinstance(item, dict | Result)
            item = known if plain else getattr(item, name)
        return item

    return get


def shown(
    key: str,
    title: str,
    of: Of = "",
    help: str = "",
    *,
    cell: Callable[..., Cell],
    numeric: bool = True,
    **how: Any,
) -> Column:
    """Return a column whose cells are `cell(value, **how)`. Values that are cells are left
    unchanged.
    """
    get = getter(of or key)

    def show(item: Any) -> Cell:
        value = get(item)
        return value if isinstance(value, Cell) else cell(value, **how)

    return Column(key, title, help, numeric, cell=show)


word = partial(shown, cell=cells.words, numeric=False)
count = partial(shown, cell=cells.words)  # a whole number, as it is
interval = partial(shown, cell=cells.interval)  # a `statistics.Interval`
percent = partial(shown, cell=cells.percent)  # a share with its interval
points = partial(shown, cell=cells.points)  # a `compare.Difference`
spread = partial(shown, cell=cells.over_seeds)  # values of seeds: mean ± sd


def number(key: str, title: str, of: Of = "", digits: int = 2, help: str = "") -> Column:
    return shown(key, title, of, help, cell=cells.number, digits=digits)


def p_value(key: str, of: Of = "", help: str = "") -> Column:
    """Column of the p-value of a `compare.Difference`."""
    return shown(key, "p", of, help, cell=cells.p_value)


def accuracy(of: Of = "point", help: str = "percent, mean ± sd over seeds") -> Column:
    """Column of a setting's accuracy."""
    return shown("accuracy", "accuracy", of, help, cell=cells.accuracy)


def field(name: str, title: str, digits: int = 2, help: str = "", of: Of = "point") -> Column:
    """Column of a field of rows, averaged over the seeds of a line's setting."""
    get = getter(of)
    return number(name, title, lambda item: get(item).mean(name), digits, help)


def values(name: str, title: str = "", help: str = "", key: str = "", of: Of = "point") -> Column:
    """Column of the distinct values that a field of rows has over seeds."""
    how = {"cell": cells.several, "name": name, "numeric": False}
    return shown(key or name, title or name, of, help, **how)


def seeds(key: str = "seeds", title: str = "seeds", of: Of = "point") -> Column:
    help = "how many, and in brackets which"
    return shown(key, title, of, help, cell=cells.seeds, numeric=False)


def grouped(group: str, columns: Iterable[Column]) -> list[Column]:
    return [replace(column, group=group) for column in columns]


def table(
    name: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    items: Iterable[Any],
    about: Of | None = "point",
    flags: Callable[[Any], Iterable[str] | None] | None = None,
) -> Table:
    """Return a table with a line for each item.

    Lines have flags, such as those under the key `flags` of a dict. If a line describes a setting,
    measurement with a single seed is flagged; about=None: it describes none.
    """

    def line(item: Any) -> Line:
        of = None if about is None else getter(about)(item)
        marks = flags(item) if flags else item.get("flags") if isinstance(item, dict) else ()
        found = tuple(marks or ())
        if isinstance(of, Mark) and len(of.members) == 1:
            found = (cells.ONE_SEED, *found)
        return Line({c.key: c.cell(item) for c in columns}, found)

    return Table(name, title, caption, list(columns), list(map(line, items)))
