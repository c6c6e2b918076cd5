"""A study: all rows and runs behind one report, read once, with warnings about invalid files.

Nothing is dropped silently: a damaged file gives one warning, and the rest is read. Shapes: B
examples, L layers, C classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from glob import glob
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

import numpy as np

from eat_lightning.answer_kind import SINGLE
from eat_lightning.errors import ConfigError
from eat_lightning.files import as_dict
from eat_lightning.machine import version_of
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record
from eat_lightning.report.replay import edited, not_imported
from eat_lightning.runs.jsonl import read_whole
from eat_lightning.runs.names import (
    budget_of,
    doubled_by,
    names_of,
    rule_of,
    run_in,
    same_point,
    seed_of,
)
from eat_lightning.runs.row import FIXED, STATIC_BASELINE, THEIRS, Row
from eat_lightning.runs.run import Run

NO_EXAMPLES = "no paired interval or test, because the examples were not stored"
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def grouped_by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group items by key, in the order of first appearance."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


@dataclass(frozen=True)
class KeptRow:
    """A row, and the folder with its files: that of a run, or one of stored results."""

    row: Row
    folder: Path

    @property
    def run(self) -> tuple[Path, str]:
        """Its folder and run; a folder of stored rows may contain several runs."""
        return self.folder, self.row.run

    @property
    def outcome(self) -> Trace | None:
        """Each example's answer, depth and reason under this row's exit rule, from the examples
        beside the row; None where they were not stored or cannot be read.
        """
        return self.found[0]

    @property
    def lacking(self) -> str:
        """Explain why there is no outcome."""
        return self.found[1]

    @cached_property
    def found(self) -> tuple[Trace | None, str]:
        if self.kept is None:
            return None, NO_EXAMPLES
        if absent := not_imported(self.row.exit.kind) or edited(self.row):
            return None, absent
        try:
            return self.kept.replay(self.row.exit.build()), ""
        except (ValueError, TypeError, KeyError):  # a rule of another version, or of other heads
            return None, NO_EXAMPLES

    @property
    def known(self) -> Trace:
        """The outcome of a row that is known to have stored examples."""
        if self.outcome is None:
            raise ValueError(f"{self.row.run}: no examples")
        return self.outcome

    @cached_property
    def kept(self) -> Record | None:
        """The record beside the row; None where it was not stored or cannot be read."""
        record = recorded_at(self.folder / self.row.examples)[0] if self.row.examples else None
        return None if record is None or len(record) != self.row.num_examples else record

    @property
    def record(self) -> Record:
        """The record of a row that is known to have stored examples."""
        if self.kept is None:
            raise ValueError(f"{self.row.run}: no examples")
        return self.kept

    @cached_property
    def correct_B(self) -> np.ndarray | None:
        """Correct answers, in the split's order; None also for answers that are not classes."""
        if self.outcome is None or self.record.kind.problem_type != SINGLE:
            return None
        return self.outcome.logits_BC.argmax(1) == self.record.labels


@dataclass
class Mark:
    """One setting over its seeds, shown as one mark in a figure.

    Args:
        members: its rows, one for each seed.
        shared: True if another rule of the same model has a setting of that name.
    """

    members: list[KeptRow]
    shared: bool = False

    @property
    def row(self) -> Row:
        return self.members[0].row

    @property
    def seeds(self) -> list[int]:
        return [m.row.seed for m in self.members]

    @property
    def runs(self) -> list[str]:
        return [run_in(m.row) for m in self.members]

    @property
    def commits(self) -> list[str]:
        return sorted({m.row.commit for m in self.members})

    @property
    def is_static(self) -> bool:
        return is_static(self.row)

    @property
    def timed(self) -> bool:
        return all(m.row.latency_ms is not None for m in self.members)

    def values(self, name: str) -> list[float]:
        """Values of a field over seeds, without seeds that lack it; `score` is the task's main
        metric.
        """
        field_name = self.row.metric if name == "score" else name
        found = [getattr(m.row, field_name) for m in self.members]
        return [v for v in found if v is not None]

    def mean(self, name: str) -> float | None:
        values = self.values(name)
        return mean(values) if values else None

    @property
    def title(self) -> str:
        """Title of the setting. The name of its exit rule is put first where the title would be
        ambiguous."""
        return f"{self.row.exit.kind}, {self.setting}" if self.shared else self.setting

    @property
    def setting(self) -> str:
        """Name of the setting among others of its model: "tau 0.9", "budget 0.5"."""
        if budget := budget_of(self.row):
            return budget
        plain = self.is_static and not self.row.baseline
        return "static" if plain else self.row.title

    @property
    def slots(self) -> str:
        """Methods without the exit rule: "dense, norm_topk ratio 0.3 layers 2/4"."""
        return ", ".join(str(m) for m in (self.row.attention, self.row.reduction))

    def correct_SB(self) -> np.ndarray | None:
        """Correct answers for each seed and example; None without stored examples."""
        rows = [m.correct_B for m in self.members]
        if any(r is None for r in rows) or len({len(r) for r in rows if r is not None}) != 1:
            return None
        return np.stack([r for r in rows if r is not None])


@dataclass
class Study:
    """Rows and runs behind a report.

    Args:
        title: name of the study in a report.
        runs: finished runs with a folder; rows stored without their runs have none.
        warnings: each names a file and what to do.
        against: the reference method of comparisons.
    """

    title: str
    measured: list[KeptRow]
    runs: list[Run] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    against: str = ""

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(m.row.task for m in self.measured))

    def points(self, **wanted: Any) -> list[Mark]:
        """Return settings over seeds whose rows have these field values (task="sst2", baseline="").
        Settings of a model are together, ordered by threshold.
        """
        groups = map(self.each_seed_once, self.groups(**wanted))
        points = [Mark(sorted(ms, key=lambda m: m.row.seed)) for ms in groups]
        called = Counter(map(self.called, points))
        points = [
            replace(p, shared=called[self.called(p)] > 1 and not p.row.baseline) for p in points
        ]
        return sorted(points, key=order)

    def called(self, point: Mark) -> tuple[str, str, str]:
        return self.name_of(point.row), point.row.task, point.setting

    def groups(self, **wanted: Any) -> list[list[KeptRow]]:
        """Group rows by setting."""

        def setting(m: KeptRow) -> str:
            same = [self.name_of(m.row), rule_of(m.row), *same_point(m.row)]
            return json.dumps(same, sort_keys=True, default=as_dict)

        fields = wanted.items()
        rows = (m for m in self.measured if all(getattr(m.row, k) == v for k, v in fields))
        return [*grouped_by(rows, setting).values()]

    def each_seed_once(self, rows: list[KeptRow]) -> list[KeptRow]:
        """Keep the latest of runs with the same seed, and the latest fit for a budget. Duplicates
        would understate the variation between seeds.
        """
        by_age = sorted(rows, key=lambda m: (self.last[run_in(m.row)], run_in(m.row), created(m)))
        newest = {seed_of(m.row): m for m in by_age}
        return [m for m in rows if newest[seed_of(m.row)] is m]

    @cached_property
    def last(self) -> dict[str, str]:
        """Time of the latest measurement of each run."""
        return {run_in(m.row): m.row.created for m in sorted(self.measured, key=created)}

    @cached_property
    def names(self) -> dict[str, str]:
        return names_of([m.row for m in self.measured])

    def name_of(self, row: Row) -> str:
        """Name of a row's model, with what distinguishes it in the study: "eat, tome"."""
        return self.names[row.setting]

    def run_of(self, measured: KeptRow) -> Run | None:
        return next((run for run in self.runs if run.folder == measured.folder), None)


def is_static(row: Row) -> bool:
    """True for dense attention, all tokens and all layers on our kernels."""
    kinds = [method.kind for method in (row.attention, row.reduction, row.exit)]
    return kinds == ["dense", "none", "never"] and row.baseline != THEIRS


def order(point: Mark) -> tuple[Any, ...]:
    row = point.row
    kind = {"": 3, FIXED: 2, STATIC_BASELINE: 1, THEIRS: 0}.get(row.baseline, 4)
    knob = row.point if isinstance(row.point, float) else 2.0
    size = (row.num_layers, row.encoder)
    return row.task, not point.is_static, row.model, size, row.weights, kind, knob, row.depth


def open_study(paths: Sequence[str], title: str | None = None, against: str = "") -> Study:
    """Read folders of runs, single run folders, stored rows (a .jsonl file or a folder with one),
    or patterns.

    Raises:
        ConfigError: where there is no row at all.
    """
    study = Study(title or Path(paths[0]).resolve().name, [], against=against)
    for file in dict.fromkeys(file for path in paths for file in rows_files(path, study.warnings)):
        if not file.is_file():
            finished = (file.parent / "done.json").is_file()
            todo = "measure it" if finished else "not finished: its command resumes it"
            study.warnings.append(f"{file.parent}: no rows ({todo})")
        if (file.parent / "config.yaml").is_file():
            try:
                study.runs.append(Run.open(file.parent))
            except ConfigError as error:
                study.warnings.append(str(error))
        rows, faults = read_whole(file, Row)
        study.measured += [KeptRow(row, file.parent) for row in rows]
        study.warnings += [f"{fault}; left out: measure again" for fault in faults]
    if not study.measured:
        places = ", ".join(paths)
        none = f"study={places} has no rows: measure its runs (eat measure run={places})"
        raise ConfigError.of([none, *study.warnings])
    study.measured = newest(study)
    study.warnings += [*doubled(study), *other_versions(study), *edited_methods(study)]
    study.warnings += without_examples(study)
    return study


def rows_files(pattern: str, warnings: list[str]) -> list[Path]:
    """Return the paths of rows.jsonl for a path or a pattern, whether they exist or not. A path
    that does not exist gives a warning.
    """
    literal = Path(pattern).exists() or "*" not in pattern
    paths = [Path(pattern)] if literal else sorted(map(Path, glob(pattern)))
    absent = [path for path in paths or [Path(pattern)] if not path.exists()]
    warnings += [f"{path}: there is no such folder or file" for path in absent]
    return [file for path in paths if path not in absent for file in rows_files_in(path)]


def rows_files_in(path: Path) -> list[Path]:
    """Return rows.jsonl of a run, a folder of runs, stored results, or a folder of studies."""
    if path.is_file():
        return [path]
    if not (path / "config.yaml").is_file() and (files := sorted(path.glob("*.jsonl"))):
        return files
    for depth in ("", "*/", "*/*/"):
        found = [p.parent for p in sorted(path.glob(f"{depth}config.yaml"))]
        if depth:
            found += [p.parent for p in sorted(path.glob(f"{depth}rows.jsonl"))]
        if found:
            return [folder / "rows.jsonl" for folder in dict.fromkeys(found)]
    return []


def newest(study: Study) -> list[KeptRow]:
    """Keep the latest row of each setting of each run.

    Timed rows take precedence over untimed ones; of timed rows, the latest with plain and with
    prepacked weights are kept. A row copied into a report takes precedence over that of its run.
    """
    best: dict[str, dict[str, KeptRow]] = {}
    runs = {run.folder for run in study.runs}

    def order_of(m: KeptRow) -> tuple[bool, str, bool]:
        return m.row.latency_ms is not None, m.row.created, m.folder in runs

    for m in sorted(study.measured, key=order_of):
        known = best.setdefault(m.row.setting, {})
        if m.row.latency_ms is None or any(k.row.latency_ms is None for k in known.values()):
            known.clear()
        known[m.row.form] = m
    kept = [m for m in study.measured if best[m.row.setting].get(m.row.form) is m]
    gone = [m for m in study.measured if m not in kept and m.row.latency_ms is not None]
    if gone:
        where = ", ".join(dict.fromkeys(str(m.folder / "rows.jsonl") for m in gone))
        older = f"{where}: {len(gone)} older timed rows were left out for newer ones"
        study.warnings.append(older)
    return kept


def doubled(study: Study) -> list[str]:
    """List runs with the same seed of a setting, such as one trained under two names, and fits for
    the same budget, such as with and without tuning the reduction.
    """
    replaced = {
        doubled_by(m.row, kept.row)
        for group in study.groups()
        for kept in study.each_seed_once(group)
        for m in group
        if m is not kept and seed_of(m.row) == seed_of(kept.row)
    }
    return sorted(replaced)


def created(measured: KeptRow) -> str:
    return measured.row.created


def without_examples(study: Study) -> list[str]:
    """List rows of available runs without stored examples; they have no paired intervals."""
    folders = {run.folder for run in study.runs}
    here = [m for m in study.measured if m.folder in folders]
    paths = dict.fromkeys(m.folder / m.row.examples for m in here if m.row.examples)
    faults = [recorded_at(path)[1] for path in paths]
    older = sorted({m.folder for m in here if not m.row.examples})
    faults += [f"{folder / 'rows.jsonl'}: rows without examples" for folder in older]
    again = "no paired intervals for it: measure the run again"
    absent = {not_imported(m.row.exit.kind) or edited(m.row) for m in study.measured}
    return [*(f"{fault} ({again})" for fault in faults if fault), *sorted(filter(None, absent))]


def other_versions(study: Study) -> list[str]:
    here = version_of("eat_lightning")
    others = Counter(m.row.version for m in study.measured if m.row.version != here)
    return [
        f"{count} rows are of version {version or 'unknown'}, this is {here}: measure them "
        "again before comparing"
        for version, count in sorted(others.items())
    ]


def edited_methods(study: Study) -> list[str]:
    """List methods from outside the package that were measured with several versions of a file."""
    hashes: dict[str, set[str]] = {}
    for measured in study.measured:
        for name, digest in measured.row.sources.items():
            hashes.setdefault(name, set()).add(digest)
    return [
        f"rows with {name} are of {len(found)} versions of its file: measure them again before "
        "comparing"
        for name, found in sorted(hashes.items())
        if len(found) > 1
    ]


@lru_cache(maxsize=64)
def recorded_at(path: Path) -> tuple[Record | None, str]:
    """Return a file of examples, or the reason why it cannot be read."""
    try:
        return (Record.read(path), "") if path.is_file() else (None, f"{path}: is not there")
    except ConfigError as error:
        return None, str(error)
