"""Load that the gateway sustains, adaptive against static full depth: table, figure and page.

    python -m experiments.serving.draw outputs/load/rows.jsonl [experiments/serving/results]

Rows come from python -m experiments.serving; without an argument those in the results
folder are drawn anew. The page is load.md, whose part between two marks is made
here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter
from pandas import DataFrame

from eat_lightning.errors import ConfigError, reported
from eat_lightning.report import columns as col
from eat_lightning.report import figures
from eat_lightning.report.figures import SERIES, Figure
from eat_lightning.report.table import Cell, Table
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import write_text
from experiments.serving.rows import LoadRow

HERE = Path(__file__).parent
PAGE = HERE / "load.md"
MARKS = "<!-- made from rows by serving.py -->", "<!-- up to here -->"
CAPACITY = "answers a second to askers that wait for their answers"
COMMAND = "python -m experiments.serving"
COLUMNS = [
    col.word("mode", "mode"),
    col.word("contestant", "contestant", "row.name"),
    col.number("capacity", "capacity", "row.capacity", 0, CAPACITY),
    col.word("load", "load", help="share of its own capacity, or of the static one's"),
    col.number("offered", "offered", "row.offered", 0, "requests a second, by a Poisson process"),
    col.number("rps", "answered", "row.rps", 0, "a second"),
    col.number("p50", "p50 ms", "row.p50_ms", 1, "of what was answered, from the time it was due"),
    col.number("p99", "p99 ms", help="the same"),
    col.number("refused", "503 %", digits=1, help="of what was sent: the queue was full"),
    col.number("late", "504 %", digits=1, help="of what was sent: the deadline passed"),
    col.number("depth", "depth", "row.mean_depth", help="layers run, mean"),
]


def table_of(rows: Sequence[LoadRow]) -> Table:
    first = rows[0]
    caption = (
        f"{first.task}, one thread for the gateway and its model on one core of {first.machine}, "
        f"the generator on another; {first.seconds:g} s for each level; deadline "
        f"{first.deadline_ms:g} ms."
    )
    ordered = sorted(rows, key=lambda r: (r.mode, r.backend, r.exits, r.basis, r.level))
    title, lines = f"The gateway on {first.task}", list(map(line_of, ordered))
    return col.table(f"serving-{first.task}", title, caption, COLUMNS, lines, None)


def line_of(row: LoadRow) -> dict[str, Any]:
    load = f"{100 * row.level:.0f} %" + (" of static" if row.basis == "static" else "")
    flags = ("the generator was late",) if row.late_p99_ms > 1 else ()
    return {
        "row": row,
        "mode": row.mode,
        "load": Cell(row.level, load),
        "p99": Cell(row.p99_ms, f"{row.p99_ms:.1f}", flags=flags),
        "refused": 100 * row.share_503,
        "late": 100 * row.share_504,
    }


def figure_of(rows: Sequence[LoadRow]) -> Figure:
    """p50 and p99 against the requests offered, a panel for each mode."""
    own = frame_of(row for row in rows if row.basis == "own").sort_values("offered")
    names = sorted(own["name"].unique())

    def draw(drawing: Any) -> None:
        modes = own.groupby("mode")
        axes = drawing.subplots(1, len(modes), squeeze=False)[0]
        for ax, (mode, here) in zip(axes, modes, strict=True):
            for name, line in here.groupby("name"):
                color, label = (
                    SERIES[names.index(name) % len(SERIES)],
                    name if ax is axes[0] else None,
                )
                look: dict[str, Any] = {"color": color, "markersize": 4}
                ax.plot(line["offered"], line["p50_ms"], "o-", label=label, **look)
                ax.plot(line["offered"], line["p99_ms"], "o--", **look)
            ax.set(yscale="log", title=mode, xlabel="requests offered a second")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
        axes[0].set_ylabel("latency (ms), from the time due")
        drawing.legend(loc="outside upper left", ncols=2, handlelength=1.5)

    caption = "Full lines: median; dashed: p99. Of what was answered, at 50 to 120 % of capacity."
    task = rows[0].task
    return Figure(f"serving-{task}", "Latency against load", caption, draw, (6.5, 3.6))


def frame_of(rows: Iterable[LoadRow]) -> Any:
    return DataFrame([asdict(row) | {"name": row.name} for row in rows])


def answers(rows: Sequence[LoadRow]) -> Iterator[str]:
    """Numbers that answer the study's question: for each mode and backend that has both."""
    for (mode, backend), same in frame_of(rows).groupby(["mode", "backend"]):
        adaptive, static = (same[same["exits"] == exits] for exits in ("own", "never"))
        if len(adaptive) and len(static):
            yield f"{mode}, {backend}: {compared(adaptive, static)}"


def compared(adaptive: DataFrame, static: DataFrame) -> str:
    capacity, theirs = adaptive["capacity"].iloc[0], static["capacity"].iloc[0]
    text = (
        f"{capacity:.0f} requests a second adaptive, {theirs:.0f} static, {capacity / theirs:.2f} "
        "times as many."
    )
    whole = "level == 1 and basis =="
    mine, full = adaptive.query(f"{whole} 'static'"), static.query(f"{whole} 'own'")
    if mine.empty or full.empty:
        return text
    a, b = mine.iloc[0], full.iloc[0]
    return text + (
        f" Under all that static can take, {a.offered:.0f}/s: p99 {a.p99_ms:.0f} ms "
        f"adaptive, {b.p99_ms:.0f} ms static (503: {100 * a.share_503:.1f} and "
        f"{100 * b.share_503:.1f} %)."
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
    write_text(to / f"{table.name}.md", table.page())
    figures.save(figure, to)
    made = [f"* {text}" for text in answers(rows)]
    made += ["", table.markdown().strip(), ""]
    if to.parent == page.parent:
        made += [f"![{figure.title}]({to.name}/{figure.name}.png)", "", figure.caption, ""]
    write_text(page, into_page(page.read_text(encoding="utf-8"), "\n".join(made)))
    table.show()


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
