"""A study: all rows and runs behind one report, read once, with what is wrong with them in words.

Nothing is dropped silently and nothing stops the rest: a damaged file is one warning. Shapes: B
examples, L layers, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from glob import glob
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.infer.record import Outcome, Recorded
from eat_lightning.measure.settings import OWN, THEIRS, label, text
from eat_lightning.model.contracts import build
from eat_lightning.runs.jsonl import read_whole
from eat_lightning.runs.row import Row
from eat_lightning.runs.run import Run, version_of

SAME_POINT = (  # what rows that are averaged over seeds have in common
    *("task", "model", "encoder", "attention", "reduction", "exit", "split", "baseline"),
    *("kernels", "dtype", "form", "device", "threads", "machine", "num_layers"),
)


@dataclass(frozen=True)
class Measured:
    """A row and the folder it was found in: a run's, or one of results that were kept."""

    row: Row
    folder: Path

    @cached_property
    def outcome(self) -> Outcome | None:
        """Each example's answer, depth and reason under this row's exit rule, from the examples
        beside the row; None where they were not kept or cannot be read."""
        recorded = recorded_at(self.folder / self.row.examples)[0] if self.row.examples else None
        if recorded is None or len(recorded) != self.row.num_examples:
            return None
        try:
            return recorded.under(build("exit", self.row.exit))
        except (ValueError, TypeError, KeyError):  # a rule that is not here, or of other heads
            return None

    @cached_property
    def correct_B(self) -> np.ndarray | None:
        """Whether each answer is right, in the split's order; None for a regression too."""
        if self.outcome is None or self.outcome.logits_BC.shape[1] == 1:
            return None
        return self.outcome.logits_BC.argmax(1) == self.outcome.recorded.labels

    @property
    def score(self) -> float:
        """The task's main metric, as a share."""
        return getattr(self.row, self.row.metric)


@dataclass
class Point:
    """One setting, over its seeds: what a figure shows as one mark."""

    members: list[Measured]

    @property
    def row(self) -> Row:
        return self.members[0].row

    @property
    def seeds(self) -> list[int]:
        return [m.row.seed for m in self.members]

    @property
    def runs(self) -> list[str]:
        return [f"{m.row.study}/{m.row.run}" for m in self.members]

    @property
    def commits(self) -> list[str]:
        return sorted({m.row.commit for m in self.members})

    @property
    def is_static(self) -> bool:
        """Dense attention, every token, every layer, on our kernels."""
        methods = self.row.attention, self.row.reduction, self.row.exit
        kinds = [m["kind"] for m in methods]
        return kinds == ["dense", "none", "never"] and self.row.baseline != THEIRS

    @property
    def timed(self) -> bool:
        return all(m.row.latency_ms is not None for m in self.members)

    def values(self, name: str) -> list[float]:
        """A field of each seed's row; `score` is the task's main metric. Seeds without it are left
        out."""
        field_name = self.row.metric if name == "score" else name
        found = [getattr(m.row, field_name) for m in self.members]
        return [v for v in found if v is not None]

    def mean(self, name: str) -> float | None:
        values = self.values(name)
        return mean(values) if values else None

    def sd(self, name: str) -> float | None:
        """Sample standard deviation over seeds; None for a single seed."""
        values = self.values(name)
        return stdev(values) if len(values) > 1 else None

    @property
    def setting(self) -> str:
        """How it is told from the other settings of its model: "tau 0.9", "own static"."""
        return self.row.baseline or ("static" if self.is_static else label(self.row.exit))

    @property
    def name(self) -> str:
        return f"{self.row.model} {self.setting}"

    @property
    def slots(self) -> str:
        """ "dense, norm_topk ratio 0.3 layers 2/4": what it is, apart from the exit rule."""
        return ", ".join(method_text(m) for m in (self.row.attention, self.row.reduction))

    def correct_SB(self) -> np.ndarray | None:
        """Right or wrong, for each seed and example; None where examples were not kept."""
        rows = [m.correct_B for m in self.members]
        if any(r is None for r in rows) or len({len(r) for r in rows if r is not None}) != 1:
            return None
        return np.stack([r for r in rows if r is not None])


def heads_of(row: Row) -> str:
    """Where a run has heads, "4/6"; what it learned depends on them, whatever its exit rule."""
    return "/".join(sorted(row.temperature, key=int))


def method_text(spec: dict[str, Any]) -> str:
    settings = [f"{k} {text(v)}" for k, v in spec.items() if k != "kind" and v is not None]
    return " ".join([spec["kind"], *settings])


@dataclass
class Study:
    """`title` names it in a report. `runs`: the finished runs that were found as folders (rows that
    were kept without their runs have none). `warnings`: each names a file and what to do."""

    title: str
    measured: list[Measured]
    runs: list[Run] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(m.row.task for m in self.measured))

    def points(self, **wanted: Any) -> list[Point]:
        """Settings over seeds whose rows have these fields (task="sst2", baseline=""), those of a
        model together, by tau."""
        groups: dict[str, list[Measured]] = {}
        for m in self.measured:
            if all(getattr(m.row, name) == value for name, value in wanted.items()):
                same = [heads_of(m.row), *(getattr(m.row, name) for name in SAME_POINT)]
                key = json.dumps(same, sort_keys=True)
                groups.setdefault(key, []).append(m)
        points = [Point(sorted(ms, key=lambda m: m.row.seed)) for ms in groups.values()]
        return sorted(points, key=order)

    def run_of(self, measured: Measured) -> Run | None:
        return next((run for run in self.runs if run.folder == measured.folder), None)

    def static_of(self, point: Point) -> Point | None:
        """The same weights with everything off, seed by seed: "own static", or the point itself. Of
        several the one of the same session, or else of the same form."""
        if point.is_static:
            return point
        same = {"dtype": point.row.dtype, "split": point.row.split, "threads": point.row.threads}
        found = []
        for mine in point.members:
            twins = [
                m
                for m in self.measured
                if m.folder == mine.folder
                and m.row.run == mine.row.run
                and Point([m]).is_static
                and all(getattr(m.row, k) == v for k, v in same.items())
            ]
            if not twins:
                return None
            found.append(max(twins, key=lambda m: alike(m.row, mine.row)))
        return Point(found)


def alike(one: Row, other: Row) -> tuple[bool, bool]:
    """In how they were timed; the larger the more."""
    return one.session == other.session, one.form == other.form


def order(point: Point) -> tuple[Any, ...]:
    row = point.row
    kind = {"": 2, OWN: 1, THEIRS: 0}.get(row.baseline, 3)
    tau = row.point if isinstance(row.point, float) else 2.0
    size = (row.num_layers, row.encoder)
    return row.task, not point.is_static, row.model, size, row.weights, kind, tau


def open_study(paths: Sequence[str], title: str | None = None) -> Study:
    """Of folders of runs, single run folders, kept rows (a .jsonl file or a folder with one), or
    patterns. ConfigError where there is no row at all."""
    warnings: list[str] = []
    files, runs = [], []
    for path in expanded(paths, warnings):
        for found in rows_files(path, warnings):
            files.append(found)
            if (found.parent / "config.yaml").is_file():
                runs += opened(found.parent, warnings)
    measured = [m for file in dict.fromkeys(files) for m in read_file(file, warnings)]
    if not measured:
        places = ", ".join(map(str, paths))
        raise ConfigError.of(
            [f"study={places} has no rows: measure its runs (eat-measure run={places})", *warnings]
        )
    kept = newest(measured, warnings)
    warnings += [*other_versions(kept), *without_examples(kept, runs)]
    distinct = list({run.folder: run for run in runs}.values())
    return Study(title or Path(paths[0]).resolve().name, kept, distinct, warnings)


def expanded(paths: Iterable[str], warnings: list[str]) -> list[Path]:
    """Patterns as what they match; what is not there is a warning."""
    found: list[Path] = []
    for path in paths:
        whole = Path(path).exists() or "*" not in path
        matches = [Path(path)] if whole else sorted(map(Path, glob(path)))
        absent = [p for p in matches if not p.exists()] or ([] if matches else [Path(path)])
        warnings += [f"{p}: there is no such folder or file" for p in absent]
        found += [p for p in matches if p.exists()]
    return found


def rows_files(path: Path, warnings: list[str]) -> list[Path]:
    """The rows.jsonl of a run, of a folder of runs, of kept results, or of a folder of studies."""
    if path.is_file():
        return [path]
    if (path / "config.yaml").is_file():
        folders = [path]
    elif own := sorted(path.glob("*.jsonl")):
        return own
    else:
        folders = sorted(p.parent for p in path.glob("*/config.yaml"))
        kept = sorted(path.glob("*/rows.jsonl"))
        folders += [p.parent for p in kept if p.parent not in folders]
        if not folders:
            folders = sorted(p.parent for p in path.glob("*/*/config.yaml"))
    return [file for folder in folders for file in rows_of(folder, warnings)]


def rows_of(folder: Path, warnings: list[str]) -> list[Path]:
    if (folder / "rows.jsonl").is_file():
        return [folder / "rows.jsonl"]
    finished = (folder / "done.json").is_file()
    todo = "measure it" if finished else "not finished: the command that trained it resumes it"
    warnings.append(f"{folder}: no rows ({todo})")
    return []


def opened(folder: Path, warnings: list[str]) -> list[Run]:
    try:
        return [Run.open(folder)]
    except ConfigError as error:
        warnings.append(str(error))
        return []


def read_file(path: Path, warnings: list[str]) -> list[Measured]:
    rows, faults = read_whole(path, Row)
    warnings += [f"{fault}; left out: measure again" for fault in faults]
    return [Measured(row, path.parent) for row in rows]


def newest(measured: list[Measured], warnings: list[str]) -> list[Measured]:
    """Of rows of one setting of one run the last, and the timed one before one that was not. Of
    timed ones the last with plain weights and the last with prepacked ones."""
    best: dict[str, dict[str, Measured]] = {}
    for m in sorted(measured, key=lambda m: (m.row.latency_ms is not None, m.row.created)):
        known = best.setdefault(m.row.setting, {})
        if m.row.latency_ms is None or any(k.row.latency_ms is None for k in known.values()):
            known.clear()
        known[m.row.form] = m
    kept = [m for m in measured if best[m.row.setting].get(m.row.form) is m]
    gone = [m for m in measured if m not in kept and m.row.latency_ms is not None]
    if gone:
        where = ", ".join(dict.fromkeys(str(m.folder / "rows.jsonl") for m in gone))
        warnings.append(f"{where}: {len(gone)} older timed rows were left out for newer ones")
    return kept


def without_examples(measured: list[Measured], runs: list[Run]) -> list[str]:
    """Rows of runs that are at hand, whose examples are not: they get no paired intervals."""
    folders = {run.folder for run in runs}
    paths = [m.folder / m.row.examples for m in measured if m.folder in folders and m.row.examples]
    older = {m.folder for m in measured if m.folder in folders and not m.row.examples}
    faults = [recorded_at(path)[1] for path in dict.fromkeys(paths)]
    faults += [f"{folder / 'rows.jsonl'}: rows without examples" for folder in sorted(older)]
    return [
        f"{fault} (no paired intervals for it: measure the run again)" for fault in faults if fault
    ]


def other_versions(measured: list[Measured]) -> list[str]:
    here = version_of("eat_lightning")
    others = sorted({m.row.version for m in measured} - {here})
    return [
        f"{sum(m.row.version == v for m in measured)} rows are of version {v or 'unknown'}, this "
        f"is {here}: measure them again before comparing"
        for v in others
    ]


@lru_cache(maxsize=64)
def recorded_at(path: Path) -> tuple[Recorded | None, str]:
    """A file of examples, or what is wrong with it."""
    try:
        return (Recorded.read(path), "") if path.is_file() else (None, f"{path}: is not there")
    except ConfigError as error:
        return None, str(error)


def curves(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What training logged: for each name the global steps and the values, over all attempts of a
    run that was killed and resumed (a step that was done twice counts once, the later one)."""
    import csv

    found: dict[str, dict[int, float]] = {}
    for path in sorted(run.folder.glob("csv*/metrics.csv"), key=attempt):
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                if not (line.get("step") or "").isdigit():
                    continue  # a line that a killed run left half-written
                for name, value in line.items():
                    if value and name not in ("step", "epoch"):
                        found.setdefault(name, {})[int(line["step"])] = float(value)
    return {
        name: (np.array(sorted(at)), np.array([at[step] for step in sorted(at)]))
        for name, at in found.items()
    }


def attempt(path: Path) -> int:
    number = path.parent.name.partition("-")[2]
    return int(number) if number.isdigit() else 1
