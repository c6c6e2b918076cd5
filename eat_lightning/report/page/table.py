"""A table as HTML that reads well without the script, and sorts with it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from eat_lightning.report.claim import Cell, Column, Line, Table
from eat_lightning.report.page.sources import Sources
from eat_lightning.report.page.text import data_address, escape, slug
from eat_lightning.report.tables import cell_of, csv_text, letters_of, says_something

LONG = 20  # lines; a longer one scrolls inside a frame, under its headings


@dataclass(frozen=True)
class Reading:
    """What a cell needs to know of its table: each flag's letter, and what its column's values are
    multiplied by in the texts (100 where those are per cent)."""

    letters: dict[str, str]
    scales: dict[str, float]

    @classmethod
    def of(cls, table: Table) -> Reading:
        scales = {column.key: scale_of(table, column.key) for column in table.columns}
        return cls(letters_by_flag(table), scales)


def leading(columns: Sequence[Column]) -> int:
    """How many columns name a line, and stay in sight: the first, and a second that is words too
    and in no group where others are."""
    grouped = any(column.group for column in columns)
    second = columns[1] if len(columns) > 1 else None
    return 2 if grouped and second and not second.numeric and not second.group else 1


def table_block(table: Table, sources: Sources) -> str:
    """Columns that no line fills are left to the CSV."""
    reading = Reading.of(table)
    columns = [column for column in table.columns if says_something(table, column)]
    lines = "\n".join(line_row(line, columns, reading, sources) for line in table.lines)
    name = slug(table.name)
    length = " long" if len(table.lines) > LONG else ""
    return f"""<div class="table" id="table-{name}">
<h3 id="title-{name}">{escape(table.title)}</h3>
{jumps(columns)}
<div class="frame{length}" role="region" aria-labelledby="title-{name}" tabindex="0">
<table aria-labelledby="title-{name}" data-leading="{leading(columns)}">
<thead>{group_row(columns)}<tr>{"".join(map(heading, columns))}</tr></thead>
<tbody>
{lines}
</tbody></table></div>
<p class="caption">{escape(table.caption)}</p>
{flag_list(reading.letters)}
<div class="under">{column_list(columns)}{csv_link(table)}</div>
</div>"""


def group_row(columns: Sequence[Column]) -> str:
    """The names over neighbours of one group; no row where no column has a group."""
    if not any(column.group for column in columns):
        return ""
    groups = [(name, len(list(members))) for name, members in groupby(columns, lambda c: c.group)]
    cells = "".join(
        f'<th scope="colgroup" colspan="{width}"><span>{escape(name)}</span></th>'
        if name
        else f'<td colspan="{width}"></td>'
        for name, width in groups
    )
    return f'<tr class="groups">{cells}</tr>'


def jumps(columns: Sequence[Column]) -> str:
    """Buttons that scroll to a group's columns; all columns stay where they are."""
    groups = dict.fromkeys(column.group for column in columns if column.group)
    if len(groups) < 2:
        return ""
    buttons = (f'<button type="button" data-jump>{escape(group)}</button>' for group in groups)
    return f'<div class="jumps" role="group" aria-label="Columns">{"".join(buttons)}</div>'


def heading(column: Column) -> str:
    tip = f' data-tip="{escape(column.help)}"' if column.help else ""
    button = f'<button type="button" class="sort"{tip}>{escape(column.title)}</button>'
    return f'<th scope="col" class="{kind_of(column)}">{button}</th>'


def kind_of(column: Column) -> str:
    return "number" if column.numeric else "words"


def line_row(line: Line, columns: Sequence[Column], reading: Reading, sources: Sources) -> str:
    """The line's own flags and its source stand at the last column that names it."""
    named = leading(columns)
    flags = "".join(flag_mark(reading.letters[flag], flag) for flag in line.flags)
    name = " ".join(cell_of(line, column.key).text for column in columns[:named])
    after = {named - 1: flags + source_button(sources.add(line.source), name)}
    cells = []
    for i, column in enumerate(columns):
        cell = cell_of(line, column.key)
        inner = content(cell, column, reading) + after.get(i, "")
        kind = 'th scope="row"' if i < named else f'td class="{kind_of(column)}"'
        cells.append(f"<{kind}{sorted_by(cell)}>{inner}</{kind[:2]}>")
    return f"<tr>{''.join(cells)}</tr>"


def sorted_by(cell: Cell) -> str:
    """The attribute that a cell is sorted by; an empty cell has none."""
    value = cell.value
    empty = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
    return "" if empty else f' data-value="{escape(str(value))}"'


def content(cell: Cell, column: Column, reading: Reading) -> str:
    text, told = parted(cell.text)
    value = f"<strong>{escape(text)}</strong>" if cell.bold else escape(text)
    marks = "".join(flag_mark(reading.letters[flag], flag) for flag in cell.flags)
    ends = escape(told) or interval(cell, reading.scales[column.key])
    return value + marks + (f'<small class="interval">{ends}</small>' if ends else "")


def parted(text: str) -> tuple[str, str]:
    """ "1.94 (1.88 to 1.99)" as its value and its interval."""
    found = re.fullmatch(r"(.+?) \(([^()]+ to [^()]+)\)", text)
    return (found[1], found[2]) if found else (text, "")


def shown_number(text: str) -> str:
    """ "88.76" of "88.76 ± 0.4 ms", with a plain minus and no commas; "" where there is none."""
    found = re.match(r"[-+\u2212]?[\d,]*\.?\d+", text)
    return found[0].replace("\u2212", "-").replace(",", "") if found else ""


def scale_of(table: Table, key: str) -> float:
    """100 where a column's texts are its values in per cent, else 1."""
    for line in table.lines:
        cell = cell_of(line, key)
        shown = shown_number(cell.text)
        if not shown or not isinstance(cell.value, int | float) or not cell.value:
            continue
        near = 0.6 * 10.0 ** -len(shown.partition(".")[2])  # a text is rounded
        if abs(float(shown) - cell.value) > near:
            return 100.0 if abs(float(shown) - 100 * cell.value) <= near else 1.0
    return 1.0


def interval(cell: Cell, scale: float) -> str:
    """ "86.6 to 90.8", with as many digits as the text has."""
    shown = shown_number(cell.text)
    if cell.low is None or cell.high is None or not shown:
        return ""
    digits = len(shown.partition(".")[2])
    ends = f"{cell.low * scale:.{digits}f} to {cell.high * scale:.{digits}f}"
    return ends.replace("-", "\u2212")


def letters_by_flag(table: Table) -> dict[str, str]:
    """Each different sentence once, in the order in which it is met: a, b, ..."""
    met: dict[str, str] = {}
    letters = letters_of()
    for line in table.lines:
        of_cells = (flag for column in table.columns for flag in cell_of(line, column.key).flags)
        for flag in (*line.flags, *of_cells):
            if flag not in met:
                met[flag] = next(letters)
    return met


def flag_mark(name: str, sentence: str) -> str:
    label = escape(f"Flag {name}: {sentence}")
    return (
        f'<button type="button" class="flag" data-tip="{escape(sentence)}" aria-label="{label}">'
        f"{name}</button>"
    )


def flag_list(letters: dict[str, str]) -> str:
    if not letters:
        return ""
    items = (
        f'<li><span class="flag">{name}</span> {escape(flag)}</li>'
        for flag, name in letters.items()
    )
    return f'<ul class="flags" aria-label="Flags">{"".join(items)}</ul>'


def column_list(columns: Sequence[Column]) -> str:
    """What a phone and paper have instead of a tooltip over the headings."""
    terms = [
        f"<div><dt>{escape(column.title)}</dt><dd>{escape(column.help)}</dd></div>"
        for column in columns
        if column.help
    ]
    if not terms:
        return "<span></span>"
    return f"<details><summary>What the columns say</summary><dl>{''.join(terms)}</dl></details>"


def source_button(index: int, line: str) -> str:
    label = escape(f"Runs and command of {line}")
    return f'<button class="source" data-source="{index}" aria-label="{label}">i</button>'


def csv_link(table: Table) -> str:
    address = data_address(csv_text(table).encode(), "csv")
    file = escape(f"{table.name}.csv")
    return f'<p class="save"><a href="{address}" download="{file}">CSV</a></p>'
