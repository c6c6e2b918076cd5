"""What the gateway sustains, adaptive against static full depth: rows -> table, figure, page.

    python -m experiments.serving.draw outputs/load/rows.jsonl [experiments/serving/results]

Rows come from python -m eat_lightning.serve.loadtest; without an argument those in the results
folder are drawn anew. The page is page.md, whose part between two marks is made
here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.report import figures, tables
from eat_lightning.report.cells import number, words
from eat_lightning.report.claim import Cell, Column, Line, Source, Table
from eat_lightning.report.figures import SERIES, Figure
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import write_text
from eat_lightning.serve.loadtest.rows import LoadRow

HERE = Path(__file__).parent
PAGE = HERE / "page.md"
MARKS = "<!-- made from rows by serving.py -->", "<!-- up to here -->"
COMMAND = "python -m eat_lightning.serve.loadtest"
COLUMNS = [
    Column("mode", "mode", numeric=False),
    Column("contestant", "contestant", numeric=False),
    Column("capacity", "capacity", "answers a second to askers that wait for their answers"),
    Column("load", "load", "share of its own capacity, or of the static one's", numeric=False),
    Column("offered", "offered", "requests a second, by a Poisson process"),
    Column("rps", "answered", "a second"),
    Column("p50", "p50 ms", "of what was answered, from the time it was due"),
    Column("p99", "p99 ms", "the same"),
    Column("refused", "503 %", "of what was sent: the queue was full"),
    Column("late", "504 %", "of what was sent: the deadline passed"),
    Column("depth", "depth", "layers run, mean"),
]


def table_of(rows: Sequence[LoadRow]) -> Table:
    first = rows[0]
    commits = tuple(sorted({row.commit for row in rows}))
    caption = (
        f"{first.task}, one thread for the gateway and its model on one core of {first.machine}, "
        f"the generator on another; {first.seconds:g} s for each level; deadline "
        f"{first.deadline_ms:g} ms."
    )
    lines = [Line(cells(row), Source((row.run,), COMMAND, commits)) for row in ordered(rows)]
    return Table(f"serving-{first.task}", f"The gateway on {first.task}", caption, COLUMNS, lines)


def ordered(rows: Sequence[LoadRow]) -> list[LoadRow]:
    return sorted(rows, key=lambda r: (r.mode, r.backend, r.exits, r.basis, r.level))


def cells(row: LoadRow) -> dict[str, Cell]:
    load = f"{100 * row.level:.0f} %" + (" of static" if row.basis == "static" else "")
    flags = ("the generator was late",) if row.late_p99_ms > 1 else ()
    return {
        "mode": words(row.mode),
        "contestant": words(row.name),
        "capacity": number(row.capacity, 0),
        "load": Cell(row.level, load),
        "offered": number(row.offered, 0),
        "rps": number(row.rps, 0),
        "p50": number(row.p50_ms, 1),
        "p99": replace(number(row.p99_ms, 1), flags=flags),
        "refused": number(100 * row.share_503, 1),
        "late": number(100 * row.share_504, 1),
        "depth": number(row.mean_depth, 2),
    }


def figure_of(rows: Sequence[LoadRow]) -> Figure:
    """p50 and p99 against the requests offered, a panel for each mode."""
    own = [row for row in rows if row.basis == "own"]
    modes, names = (sorted({getattr(row, key) for row in own}) for key in ("mode", "name"))

    def draw(drawing: Any) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes = drawing.subplots(1, len(modes), squeeze=False)[0]
        for ax, mode in zip(axes, modes, strict=True):
            for i, name in enumerate(names):
                line = sorted(
                    (r for r in own if (r.mode, r.name) == (mode, name)), key=lambda r: r.offered
                )
                x, color = [row.offered for row in line], SERIES[i % len(SERIES)]
                label = name if mode == modes[0] else None
                ax.plot(x, [r.p50_ms for r in line], "o-", color=color, label=label, markersize=4)
                ax.plot(x, [r.p99_ms for r in line], "o--", color=color, markersize=4)
            ax.set(yscale="log", title=mode, xlabel="requests offered a second")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
        axes[0].set_ylabel("latency (ms), from the time due")
        drawing.legend(loc="outside upper left", ncols=2, handlelength=1.5)

    caption = "Full lines: median; dashed: p99. Of what was answered, at 50 to 120 % of capacity."
    task = rows[0].task
    return Figure(f"serving-{task}", "Latency against load", caption, draw, (6.5, 3.6))


def answers(rows: Sequence[LoadRow]) -> list[str]:
    """What a person takes away, in numbers: for each mode and backend that has both."""
    both: dict[tuple[str, str], dict[str, list[LoadRow]]] = {}
    for row in sorted(rows, key=lambda r: (r.mode, r.backend)):
        both.setdefault((row.mode, row.backend), {"own": [], "never": []})[row.exits].append(row)
    return [
        f"{mode}, {backend}: {compared(of['own'], of['never'])}"
        for (mode, backend), of in both.items()
        if of["own"] and of["never"]
    ]


def compared(adaptive: Sequence[LoadRow], static: Sequence[LoadRow]) -> str:
    capacity, theirs = adaptive[0].capacity, static[0].capacity
    text = (
        f"{capacity:.0f} requests a second adaptive, {theirs:.0f} static, {capacity / theirs:.2f} "
        "times as many."
    )
    same = [row for row in adaptive if (row.basis, row.level) == ("static", 1.0)]
    full = [row for row in static if (row.basis, row.level) == ("own", 1.0)]
    if not (same and full):
        return text
    return text + (
        f" Under all that static can take, {same[0].offered:.0f}/s: p99 {same[0].p99_ms:.0f} ms "
        f"adaptive, {full[0].p99_ms:.0f} ms static (503: {100 * same[0].share_503:.1f} and "
        f"{100 * full[0].share_503:.1f} %)."
    )


def into_page(page: str, made: str) -> str:
    """`made` between the marks."""
    begin, end = MARKS
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ConfigError(f"{PAGE.name}: needs each of its two marks once")
    pattern = re.escape(begin) + ".*" + re.escape(end)
    return re.sub(pattern, lambda _: f"{begin}\n\n{made}\n{end}", page, flags=re.DOTALL)


def main(arguments: Sequence[str], page: Path = PAGE) -> None:
    to = Path(arguments[1]) if len(arguments) > 1 else HERE / "results"
    given = Path(arguments[0]) if arguments else to / "rows.jsonl"
    rows = jsonl.read(given, LoadRow)
    if not rows:
        raise ConfigError(f"{given} has no rows: {COMMAND} run=...")
    rows = jsonl.update(to / "rows.jsonl", LoadRow, rows)
    table, figure = table_of(rows), figure_of(rows)
    tables.write(table, to)
    figures.save(figure, to)
    made = [f"* {text}" for text in answers(rows)]
    made += ["", tables.to_markdown(table).strip(), ""]
    if to.parent == page.parent:
        made += [f"![{figure.title}]({to.name}/{figure.name}.png)", "", figure.caption, ""]
    write_text(page, into_page(page.read_text(encoding="utf-8"), "\n".join(made)))
    tables.show(table)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
