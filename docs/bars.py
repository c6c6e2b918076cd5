"""Figures of studies whose answer is a few numbers: bars of a table on the study's own page.

    python -m experiments.site.bars

Writes `answer.svg` beside each page. A figure reads its page, so the two cannot disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from eat_lightning.files import write_text
from experiments.site.canvas import COLORS, WIDTH, Canvas
from experiments.site.made import ROOT

EXPERIMENTS = ROOT / "experiments"
Line = dict[str, str]  # column -> cell


@dataclass(frozen=True)
class Bars:
    """A bar for each line of a table.

    Args:
        table: Its place in the file, from 0.
        value: The column whose first number is a bar's length.
        label, shown: What stands above a bar and behind it, with columns in braces.
        where: column -> what its cell begins with; other lines are left out.
        longest: Length of the longest bar, in units of the canvas; its number stands behind it.
    """

    study: str
    title: str
    value: str
    label: str
    shown: str
    table: int = 0
    file: str = "page.md"
    where: dict[str, str] = field(default_factory=dict)
    longest: int = WIDTH - 130

    def svg(self) -> str:
        text = (EXPERIMENTS / self.study / self.file).read_text("utf-8")
        found = [line for line in lines(text, self.table) if self.has(line)]
        values = [float(re.findall(r"[\d.]+", line[self.value])[0]) for line in found]
        canvas = Canvas(self.title, 40 + 34 * len(found), COLORS["light"])
        canvas.text(8, 20, self.title)
        for i, (line, value) in enumerate(zip(found, values, strict=True)):
            top, width = 36 + 34 * i, self.longest * value / max(values)
            canvas.text(8, top + 10, self.label.format_map(line), "muted")
            canvas.box(8, top + 15, width, 10, "blue")
            canvas.text(14 + width, top + 25, self.shown.format_map(line))
        return canvas.svg()

    def has(self, line: Line) -> bool:
        return all(line[column].startswith(start) for column, start in self.where.items())


def lines(text: str, table: int) -> list[Line]:
    """Read a table of a page; an empty first cell is that above it."""
    rows = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[table].splitlines()
    head, _, *others = [[re.sub(r"[*`]", "", c).strip() for c in r[1:-1].split("|")] for r in rows]
    found: list[Line] = []
    for cells in others:
        cells[0] = cells[0] or found[-1][head[0]]
        found.append(dict(zip(head, cells, strict=True)))
    return found


ALL = [
    Bars(
        *("adapt", "One text at once: times the fastest static engine", "times static"),
        *("{classifier}, {processor}", "{times static}"),
        where={"texts at once": "1"},
    ),
    Bars(
        *("bodies", "SST-2: times as fast as transformers' model", "EAT, prepacked"),
        *("{backbone, dtype}, {workload}", "{EAT, prepacked}"),
        where={"workload": "SST-2"},
    ),
    Bars(
        *("budgets", "Asked 0.4 of the cost: points above any mix of depths"),
        *("over the best mix", "{task, body}", "{over the best mix}"),
        where={"asked": "0.4"},
        longest=WIDTH - 160,
    ),
    Bars(
        *("calibration", "Exits that are calibrated on dev, of 54", "exits that pass"),
        *("{temperatures fitted on}", "{exits that pass}"),
    ),
    Bars(
        *("dtypes", "Answers that int8 changes, %, at most", "int8 changed, %"),
        *("{task}, {model}", "{int8 changed, %}"),
        table=1,
    ),
    Bars(
        *("export", "SST-2: examples with the run's depth, of 872", "depths"),
        *("{graphs} graphs against {against}", "{depths}"),
        table=1,
        where={"task": "SST-2", "batch": "32"},
    ),
    Bars(
        *("lists", "Original's best ten kept, at 0.45 of the cost", "best ten kept"),
        *("{lists of}, {way}: cost {cost}", "{best ten kept}"),
        where={"asked": "0.45"},
    ),
    Bars(
        *("long_texts", "False alarms, and phishing that is found, %", "false alarms, %"),
        *("{reading}, long texts", "{false alarms, %}, found: {recall, %}"),
        where={"texts": "joined", "exits": "tau"},
    ),
    Bars(
        *("policies", "SST-2, tau 0.8: share of the FLOPs, and accuracy", "FLOPs"),
        *("{policy}", "{FLOPs}, {accuracy} %"),
        file="tables.md",
        where={"exit rule": "tau 0.8"},
    ),
    Bars(*("scoring", "Rows a second", "rows a second", "{how}", "{rows a second}"), table=1),
]


def main() -> None:
    for each in ALL:
        write_text(EXPERIMENTS / each.study / "answer.svg", each.svg())


if __name__ == "__main__":
    main()
