"""Charts as W&B shows them, drawn from the files of offline runs: the workspace's own panels over
what the runs logged. `python -m docs.site.dashboard <folder of runs> <folder to write>`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docs.site.made import Page, drawn
from docs.site.tutorial import command, runs_commands
from eat_lightning.report.figures import SERIES, Figure, save_pair

TRAIN = (
    "-m seed=1,2 data=toy encoder=tiny model=eat_pruned reduction.ratio=0.25 optimizer.lr=1e-3 "
    "trainer.max_steps=100 trainer.log_every_n_steps=5 threads=1 study=dashboard "
    "measure.enabled=false logger=wandb"
)
MEASURE = (  # the toy's times only fill the panel; force: a site may be built beside a training
    "run=outputs/dashboard budgets=[0.5,0.7,0.9] taus=[0.6,0.8,0.95] logger=wandb "
    "timing.examples=40 timing.repeats=1 timing.force=true"
)
SECTIONS = ("Frontier", "Sweeps", "Exits", "Reduction", "Calibration", "Training")
EXITS = [3, 4, 6]
BLOCK, HEAD = 32768, 7  # of the file's log: blocks of records, each behind a head


@dataclass
class Logged:
    """A run as W&B has it: what was logged step by step, the last of each, and its tables."""

    name: str
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return sorted({name for point in self.history for name in point})


def run(folder: str) -> None:
    """Make the runs, where a build runs anything."""
    if runs_commands():
        command("train", TRAIN, folder)
        command("measure", MEASURE, folder)


def pages(folder: Path) -> list[Page]:
    """A picture of each section of the runs; a note in its place where a build runs nothing."""
    made = figures(folder) if runs_commands() else [left_out(name) for name in SECTIONS]
    return [page for figure in made for page in drawn(figure, "how-to")]


def figures(folder: Path) -> list[Figure]:
    """A figure of each of the workspace's sections over the offline runs below a folder."""
    from eat_lightning.track.__main__ import sections

    runs = [logged(path) for path in sorted(folder.rglob("offline-run-*/run-*.wandb"))]
    return [figure(name, panels, runs) for name, panels in sections(EXITS).items()]


def logged(path: Path) -> Logged:
    """Read a run's file; the tables lie beside it."""
    from wandb.proto import wandb_internal_pb2

    protocol: Any = wandb_internal_pb2  # whose classes are made when it is imported

    # outputs/<study>/<run>/wandb/offline-run-.../run-....wandb
    found = Logged(path.parents[2].name)
    for content in records(path.read_bytes()):
        record = protocol.Record.FromString(content)
        point, updated = map(fields, (record.history.item, record.summary.update))
        if point:
            found.history.append(point)
        found.summary |= point | updated
    for key, value in found.summary.items():
        name, _, part = key.rpartition("/")  # a table's fields come one by one: <name>/_type, ...
        if part == "_type" and value == "table-file":
            file = path.parent / "files" / found.summary[f"{name}/path"]
            table = json.loads(file.read_text("utf-8"))
            lines = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
            found.tables[name] = lines
    return found


def records(content: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format, which W&B writes: a head is a checksum (4 bytes), a
    length (2) and a type (1: whole; 2, 3, 4: first, middle and last part)."""
    at, parts = HEAD, b""  # the file begins with W&B's own mark
    while at + HEAD <= len(content):
        if BLOCK - at % BLOCK < HEAD:  # no head fits: the block's end is empty
            at += BLOCK - at % BLOCK
            continue
        length = int.from_bytes(content[at + 4 : at + 6], "little")
        kind = content[at + 6]
        parts += content[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in (1, 4):
            yield parts
            parts = b""


def fields(items: Iterable[Any]) -> dict[str, Any]:
    names = (item.key or "/".join(item.nested_key) for item in items)
    values = (json.loads(item.value_json) if item.value_json else None for item in items)
    return dict(zip(names, values, strict=True))


def figure(name: str, panels: Sequence[Any], runs: Sequence[Logged]) -> Figure:
    """The panels side by side, three in a row; a run has the same color in all."""
    rows = -(-len(panels) // 3)

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(rows, 3, squeeze=False)
        for axis in axes.flat[len(panels) :]:
            axis.axis("off")
        for axis, panel in zip(axes.flat, panels, strict=False):
            DRAWS[type(panel).__name__](axis, panel, runs)
            if not axis.has_data():
                axis.text(0.5, 0.5, "nothing logged", ha="center", transform=axis.transAxes)

    return Figure(f"wandb-{name.lower()}", name, "", draw, (11, 2.7 * rows))


def sound(lines: Iterable[dict[str, Any]], x: str, y: str) -> list[tuple[Any, Any]]:
    """Two fields of each line, where both are numbers."""
    pairs = ((line.get(x), line.get(y)) for line in lines)
    return [(a, b) for a, b in pairs if is_number(a) and is_number(b)]


def draw_lines(axis: Any, panel: Any, runs: Sequence[Logged]) -> None:
    wanted = set(panel.y or [])
    for run, color in zip(runs, SERIES, strict=False):
        matched = [n for n in run.names if panel.metric_regex and re.match(panel.metric_regex, n)]
        for name, dashes in zip([*sorted(wanted), *matched], ("-", "--", ":", "-."), strict=False):
            if points := sound(run.history, panel.x, name):
                short = name.partition("/")[2] if len(wanted) + len(matched) > 1 else None
                mark = "o" if len(points) == 1 else ""
                style = {"color": color, "ls": dashes, "lw": 1, "marker": mark, "ms": 4}
                axis.plot(*zip(*points, strict=True), label=short, **style)
    axis.set_title(panel.title)
    axis.set_xlabel(panel.x)
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    if handles:
        axis.legend(handles.values(), handles.keys())


def draw_scatter(axis: Any, panel: Any, runs: Sequence[Logged]) -> None:
    """Draw the last values of each run; of a custom chart two columns of the last table of that
    name."""
    if type(panel).__name__ == "CustomChart":
        title, size = panel.query["summaryTable"]["tableKey"], 14
        x, y = panel.chart_fields["x"], panel.chart_fields["y"]
        lines = [run.tables.get(title, []) for run in runs]
    else:
        title, size, x, y = panel.title, 24, panel.x.name, panel.y.name
        lines = [[run.summary] for run in runs]
    for own, color in zip(lines, SERIES, strict=False):
        if points := sound(own, x, y):
            axis.scatter(*zip(*points, strict=True), color=color, s=size)
    axis.set_title(title)
    axis.set_xlabel(x)
    axis.set_ylabel(y)


def draw_bars(axis: Any, panel: Any, runs: Sequence[Logged]) -> None:
    metrics = [name for name in panel.metrics if any(name in run.summary for run in runs)]
    for i, (run, color) in enumerate(zip(runs, SERIES, strict=False)):
        places = [at + 0.8 * i / len(runs) for at in range(len(metrics))]
        values = [run.summary.get(name) or 0.0 for name in metrics]
        axis.barh(places, values, height=0.7 / len(runs), color=color)
    axis.set_yticks(range(len(metrics)), [name.partition("/")[2] for name in metrics])
    axis.invert_yaxis()
    axis.set_title(panel.title)


DRAWS = {
    "LinePlot": draw_lines,
    "ScatterPlot": draw_scatter,
    "CustomChart": draw_scatter,
    "BarPlot": draw_bars,
}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def left_out(name: str) -> Figure:
    def draw(drawing: Any) -> None:
        words = "left out of this build (EAT_SITE_RUN=false)"
        drawing.text(0.5, 0.5, words, ha="center", va="center")

    return Figure(f"wandb-{name.lower()}", name, "", draw, (6, 0.6))


if __name__ == "__main__":
    for found in figures(Path(sys.argv[1])):
        print(*save_pair(found, Path(sys.argv[2])), sep="\n")
