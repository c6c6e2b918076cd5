"""The plane as tables and a figure, from its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pandas import DataFrame

from eat_lightning.report.figures import MUTED, looks
from eat_lightning.report.study import grouped_by
from experiments.bench.tables import draw, markdown, ranged
from experiments.plane.rows import Plane, PlaneRow, TimedRow
from experiments.plane.systems import AGREEMENT

SHOWN = (0.06, 0.13, 0.21, 0.3, 0.38, 0.5, 0.6, 0.8)  # of the costs asked for
ABOUT_TIMES = (
    "Milliseconds of an example at batch 1 and in batches of 32, fp32 with prepacked weights, one "
    "thread, all by turns. Examples were drawn near the cost of dev; *drawn cost* is theirs over "
    "dev's. Intervals hold the drawing:"
)
DASHES = {"fixed depth": ":", "exits": "-"}  # the lines of cascades are dashed


def report(plane: Plane, folder: Path) -> str:
    """Return a task's tables in Markdown, and draw its figure beside them."""
    row, dearest = plane.rows[0], dearest_of(plane)
    chosen = "on the other half" if row.crossed else f"on {row.num_cut} of the cut"
    about = (
        f"{row.num_examples} examples of dev; operating points chosen {chosen}. "
        f"Shares are of the FLOPs of {dearest.system}, {dearest.gflops:.3g} GFLOPs. In brackets "
        "95 % intervals, of differences paired."
    )
    figure = draw(folder / f"{row.task}.svg", (10, 5), lambda drawing: fill(drawing, plane))
    spent = asked_table(plane, lambda row: spent_text(plane, row))
    beside = asked_table(plane, lambda row: beside_text(plane, row, dearest))
    parts = [f"## {row.task}", about, figure]
    parts += ["The front:", markdown(front_table(plane))]
    parts += ["Static models and cascades by agreement:", markdown(single_table(plane))]
    parts += ["By the cost asked for, accuracy at the share spent (front: bold):", markdown(spent)]
    parts += [f"The same minus the exits of {dearest.system}:", markdown(beside)]
    asked = f"At 99 % of answers unchanged, asked {chosen}:"
    parts += [asked, markdown(agree_table(plane))]
    if plane.times:
        path = folder / f"{row.task}-times.svg"
        clock = draw(path, (10, 4), lambda drawing: fill_times(drawing, plane))
        parts += [ABOUT_TIMES, clock, markdown(times_table(plane))]
    return "\n\n".join(parts)


def times_table(plane: Plane) -> DataFrame:
    """Times of systems, the slowest first, beside their accuracy on all of dev."""
    lines = []
    for timed in sorted(plane.times, key=lambda timed: -timed.latency_ms):
        accuracy = accuracy_of(plane, timed)
        asked = "" if timed.asked is None else f"{timed.asked:g}"
        if timed.asked_ms is not None:
            asked = f"{timed.asked_ms:g} ms"
        lines.append(
            {
                "system": timed.system,
                "kind": timed.kind,
                "asked": asked,
                "accuracy": "" if accuracy is None else f"{accuracy:.2f}",
                "ms": f"{timed.latency_ms:.2f}",
                "times as fast": ranged(timed.speed_up),
                "in batches, ms": f"{timed.batch_ms:.2f}",
                "times as fast there": ranged(timed.batch_speed_up),
                "drawn cost": f"{timed.drawn_cost:.3f}",
            }
        )
    return DataFrame(lines)


def accuracy_of(plane: Plane, timed: TimedRow) -> float | None:
    """Accuracy of a timed setting, or of the plane's row for it; None where neither has it."""
    if timed.accuracy is not None:
        return timed.accuracy
    same = (timed.system, timed.kind, timed.asked)
    judged = (row for row in plane.rows if (row.system, row.kind, row.asked) == same)
    return next((row.accuracy for row in judged), None)


def dearest_of(plane: Plane) -> PlaneRow:
    """The static model that shares are of."""
    return next(row for row in plane.rows if row.kind == "static" and row.share == 1)


def front_table(plane: Plane) -> DataFrame:
    """Rows of the front, each beside the most accurate static model."""
    statics = [row for row in plane.rows if row.kind == "static"]
    best = max(statics, key=lambda row: row.accuracy)
    lines = [
        named(row) | {f"over {best.system}": plane.difference(row, best)} for row in plane.front
    ]
    return DataFrame(lines)


def named(row: PlaneRow) -> dict[str, str]:
    return {"system": row.system, "kind": row.kind, "setting": row.setting, **cells(row)}


def cells(row: PlaneRow) -> dict[str, str]:
    return {
        "share": f"{row.share:.3f}",
        "GFLOPs": f"{row.gflops:.3g}",
        "accuracy": f"{row.accuracy:.2f} ({row.low:.1f} to {row.high:.1f})",
    }


def single_table(plane: Plane) -> DataFrame:
    """Rows for which no cost was asked, but fixed depths."""
    rows = [r for r in plane.rows if r.kind in ("static", AGREEMENT)]
    return DataFrame([named(row) | {"for as little": passed_by(plane, row)} for row in rows])


def passed_by(plane: Plane, row: PlaneRow) -> str:
    """Name what is more accurate for as little, and by how much; "the front" where nothing is."""
    cheaper = [r for r in plane.front if r.gflops <= row.gflops]
    best = max(cheaper, key=lambda r: r.accuracy)
    if best.accuracy <= row.accuracy:
        return "the front"
    return f"{best.system}, {best.kind}, {best.setting}: {plane.difference(best, row)}"


def asked_table(plane: Plane, cell: Callable[[PlaneRow], str]) -> DataFrame:
    """A line for each system, a column for each cost that was asked for and is shown."""
    asked = grouped_by((r for r in plane.rows if r.asked), lambda r: (r.system, r.kind))
    lines = []
    for (system, kind), rows in asked.items():
        cells = {row.asked: cell(row) for row in rows}
        shown = {f"{budget:g}": cells.get(budget, "") for budget in SHOWN}
        lines.append({"system": system, "kind": kind, **shown})
    return DataFrame(lines)


def spent_text(plane: Plane, row: PlaneRow) -> str:
    mark = "**" if row in plane.front else ""
    return f"{mark}{row.accuracy:.2f}{mark} at {row.share:.3f}"


def beside_text(plane: Plane, row: PlaneRow, dearest: PlaneRow) -> str:
    """The difference from the exits of the dearest model at the same cost asked for."""
    same = (row.asked, dearest.system, "exits")
    exits = [r for r in plane.rows if (r.asked, r.system, r.kind) == same]
    return plane.difference(row, exits[0]) if exits and exits != [row] else ""


def agree_table(plane: Plane) -> DataFrame:
    rows = sorted((r for r in plane.rows if r.setting == "agree 0.99"), key=lambda r: r.gflops)
    return DataFrame(
        [
            {"system": r.system, "kind": r.kind, **cells(r), "unchanged": f"{r.unchanged:.1f}"}
            for r in rows
        ]
    )


def lines_of(plane: Plane) -> Iterator[tuple[str, str, list[PlaneRow]]]:
    """Yield system, kind and rows by cost, of each line of the figure."""
    rows = [row for row in plane.rows if not row.setting.startswith("agree")]
    for (system, kind), found in grouped_by(rows, lambda r: (r.system, r.kind)).items():
        yield system, kind, sorted(found, key=lambda row: row.gflops)


def fill(drawing: Any, plane: Plane) -> None:
    """Accuracy over GFLOPs; what lies on the front is ringed."""
    ax = drawing.subplots()
    lines = [*lines_of(plane)]
    colors = looks(f"{system}, {kind}" for system, kind, _ in lines if kind != "fixed depth")
    for system, kind, rows in lines:
        name = f"{system}, {kind}"
        color, marker = colors.get(name, (MUTED, ""))
        xs, ys = [row.gflops for row in rows], [row.accuracy for row in rows]
        style = DASHES.get(kind, "--")
        ax.plot(xs, ys, style, color=color, marker=marker, label=name, ms=4, lw=1, mew=0)
    front = plane.front
    xs, ys = [row.gflops for row in front], [row.accuracy for row in front]
    ax.plot(xs, ys, "o", mfc="none", mec=MUTED, ms=9, mew=0.8, label="the front")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("GFLOPs of an example, counted")
    ax.set_ylabel("accuracy on dev, %")
    ax.set_ylim(bottom=min(row.accuracy for row in front))
    ax.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def fill_times(drawing: Any, plane: Plane) -> None:
    """Accuracy over milliseconds of an example: at batch 1, and in batches of 32."""
    left, right = drawing.subplots(1, 2, sharey=True)
    known = [row for row in plane.times if accuracy_of(plane, row) is not None]
    lines = grouped_by(known, way_of)
    colors = looks(lines)
    for ax, field in ((left, "latency_ms"), (right, "batch_ms")):
        for name, rows in lines.items():
            points = sorted((getattr(row, field), accuracy_of(plane, row)) for row in rows)
            color, marker = colors[name]
            ax.plot(
                *zip(*points, strict=True), "-", color=color, marker=marker, label=name, ms=4, lw=1
            )
        ax.set_xscale("log")
        for formatted in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
            formatted("{x:g}")  # 20, not 2 x 10^1
    left.set_xlabel("milliseconds of an example, one by one")
    right.set_xlabel("the same, in batches of 32")
    left.set_ylabel("accuracy on dev, %")
    right.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def way_of(row: TimedRow) -> str:
    """Name the line of a figure that a setting belongs to."""
    return f"{row.system}, {row.kind}" + (" asked ms" if row.asked_ms is not None else "")
