"""Losses on the pages of heads from one pass are those that `one_pass.losses` makes of kept rows.

A column says by its accuracy what exits are compared with, as in "minus full depth (93.46)". A row
may hold several runs, each from its column "spent" on.
"""

import re
from collections.abc import Iterator
from functools import cache

import pytest

from experiments.budgets.summary import HERE, kept_rows
from experiments.one_pass import losses

Line = dict[str, str | None]  # of losses.py: column -> cell
Cells = list[str | None]
Part = tuple[str, Cells, Cells]  # of a row: what was asked, columns of a run, their cells

COMPARED = re.compile(r"\((\d\d\.\d\d)\)$")
SIDE_BY_SIDE = [  # on pairs.md: the second column, which such table, what is shown of which runs
    ("head=pair, seed 1", 0, "minus full depth", "qqp_minilm_{heads1,heads2,aligned2}"),
    ("head=pair, seed 1", 1, "minus full depth", "mnli_minilm_{heads1,heads2,aligned2}"),
    ("heads from one pass", 0, "accuracy", "mnli_{minilm_heads2,joint_pair_b,joint_mean_b}"),
]


@cache
def lines() -> list[Line]:
    return list(losses.lines(kept_rows().measured))


def tables(page: str) -> list[list[list[str]]]:
    """Rows of each table, the heading first; bold and code are plain."""
    text = re.sub(r"[*`]", "", (HERE / page).read_text("utf-8"))
    found = [part.splitlines() for part in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    return [[cells_of(row) for row in part if row[:4] not in ("|---", "| --")] for part in found]


def cells_of(row: str) -> list[str]:
    return [cell.strip() for cell in row[1:-1].split("|")]


def parts(page: str) -> Iterator[Part]:
    """Yield what each row of a table of losses shows of each run."""
    for head, *rows in tables(page):
        starts = [i for i, name in enumerate(head) if name.endswith("spent")]
        if not starts or not any(map(COMPARED.search, head)):
            continue
        for start, end in zip(starts, [*starts[1:], len(head)], strict=True):
            for row in rows:
                yield row[0], [*head[start:end]], [*row[start:end]]


def beside_three_layers() -> Iterator[Part]:
    """Yield rows whose students' accuracies stand in a row of their own."""
    (head, *rows), *_ = [table for table in tables("students.md") if table[0][0] == "task, asked"]
    named = {row[0]: row for row in rows}
    for row in rows:
        task, asked = row[0].split(", ")
        if asked != "the student":
            students = named[f"{task}, the student"]
            yield asked, [*head[1:3], *(f"minus ({each})" for each in students[3:])], [*row[1:]]


def made(asked: str, columns: Cells) -> list[Cells]:
    """Return the cells of each run that was asked for this; None where it has no such column."""
    return [[cell(line, str(name)) for name in columns] for line in lines() if was(asked, line)]


def was(asked: str, line: Line) -> bool:
    return line["asked"] == (asked if asked.startswith("agree") else f"budget {float(asked):g}")


def cell(line: Line, column: str) -> str | None:
    if not (compared := COMPARED.search(column)):
        return line["accuracy" if column == "exits" else column.split()[-1]]
    if "full depth" in column:
        return line["minus full depth"] if line["full depth"] == compared[1] else None
    return next((text for name, text in line.items() if name.endswith(compared[0])), None)


@pytest.mark.parametrize(
    ("page", "least"), [("one_pass.md", 22), ("pairs.md", 38), ("students.md", 14)]
)
def test_losses(page: str, least: int):
    found = list(parts(page))
    assert len(found) >= least
    assert [part for part in found if part[2] not in made(*part[:2])] == []


def test_losses_beside_a_student_of_three_layers():
    found = list(beside_three_layers())
    assert {asked for asked, _, _ in found} > {"0.20", "0.70"}
    assert [part for part in found if part[2] not in made(*part[:2])] == []


@pytest.mark.parametrize(("second", "number", "value", "runs"), SIDE_BY_SIDE)
def test_runs_side_by_side(second: str, number: int, value: str, runs: str):
    start, names = runs.rstrip("}").split("{")
    shown = [table for table in tables("pairs.md") if table[0][1].startswith(second)][number]
    for asked, *cells in shown[1:]:
        assert cells == [of_run(start + name, asked, value) for name in names.split(",")]


def of_run(run: str, asked: str, value: str) -> str | None:
    its = [line for line in lines() if line["run"] == run]
    if asked == "full depth":
        return its[0]["full depth"]
    return next(line[value] for line in its if was(asked, line))
