"""Rows of the plane: each system's operating points, judged on dev, beside each other.

Every row's answers are kept as a column of right and wrong, from which paired intervals follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pandas import DataFrame, read_parquet

from eat_lightning.errors import ConfigError
from eat_lightning.files import replacing
from eat_lightning.report.intervals import mean_interval, paired_difference
from eat_lightning.runs import jsonl
from experiments.plane.systems import Judged, System


@dataclass(frozen=True)
class PlaneRow:
    """A system at one operating point.

    Args:
        task: judged by accuracy.
        data: a hash of the texts of cut and dev.
        system: its models' names.
        kind: static, fixed depth, exits, or a kind of cascade.
        setting: the operating point.
        asked: cost that was asked for, as a share of the dearest static model's; None: none was.
        share: cost on dev, as a share of the same.
        gflops: counted billions of operations of an example of dev, in mean.
        accuracy: percent.
        low: of its 95 % interval over examples.
        high: of the same.
        unchanged: percent of answers that are those of the last model at full depth.
        num_examples: of dev.
        num_cut: examples that the operating point was chosen on.
        crossed: those are of dev, of which each half is judged under what the other has chosen.
        runs: folders' names.
        commit: of the code that judged.
    """

    task: str
    data: str
    system: str
    kind: str
    setting: str
    asked: float | None
    share: float
    gflops: float
    accuracy: float
    low: float
    high: float
    unchanged: float
    num_examples: int
    num_cut: int
    crossed: bool
    runs: list[str]
    commit: str

    @property
    def key(self) -> str:
        return f"{self.system}, {self.kind}, {self.setting}"


@dataclass(frozen=True)
class TimedRow:
    """Times of a system at one operating point, one thread.

    Args:
        system: its models' names.
        kind: static, exits, or a kind of cascade.
        asked: cost that was asked for, as a share of the last static model's; None: static.
        latency_ms: mean at batch 1.
        batch_ms: of an example in batches of 32, as they come.
        speed_up: at batch 1 over the last static model, with the 95 % interval's ends.
        batch_speed_up: the same in batches.
        drawn_cost: counted cost of the timed examples over that of dev.
        examples: timed.
        data: as the plane's rows have it.
        machine: processor, and number of cores.
        commit: of the code that timed.
        asked_ms: of an example at batch 1, in place of a share; None: none were asked for.
        accuracy: percent, on dev; None: not kept, as in the plane's row.
        above: points above each static model by its name, with the ends of the paired 95 %
            interval.
    """

    system: str
    kind: str
    asked: float | None
    latency_ms: float
    batch_ms: float
    speed_up: list[float]
    batch_speed_up: list[float]
    drawn_cost: float
    examples: int
    data: str
    machine: str
    commit: str
    asked_ms: float | None = None
    accuracy: float | None = None
    above: dict[str, list[float]] = field(default_factory=dict)


def row_of(
    system: System, judged: Judged, full_cost: float, commit: str, crossed: bool = False
) -> PlaneRow:
    """Judge a point. full_cost: mean FLOPs on dev of what costs are shares of."""
    model = system.models[-1]
    right_B = judged.answer_B == model.dev.labels
    interval = mean_interval(right_B).times(100)
    unchanged_B = judged.answer_B == model.dev.guesses[model.last].argmax(1)
    cost = float(judged.cost_B.mean())
    return PlaneRow(
        task=model.task,
        data=model.data,
        system=system.name,
        kind=system.kind,
        setting=judged.setting,
        asked=judged.asked,
        share=round(cost / full_cost, 5),
        gflops=float(f"{cost / 1e9:.5g}"),
        accuracy=round(interval.value, 3),
        low=round(interval.low, 2),
        high=round(interval.high, 2),
        unchanged=round(100 * float(unchanged_B.mean()), 2),
        num_examples=len(right_B),
        num_cut=len(model.cut) // (1 + crossed),
        crossed=crossed,
        runs=[m.run for m in system.models],
        commit=commit,
    )


def times_path(folder: Path, task: str) -> Path:
    """Where rows of times stand beside those of a plane."""
    return folder / "times" / f"{task}.jsonl"


@dataclass
class Plane:
    """All rows of a task, and who was right: a column for each row's key. times: of systems that
    were timed."""

    rows: list[PlaneRow]
    right: DataFrame
    times: list[TimedRow] = field(default_factory=list)

    @classmethod
    def of(
        cls, systems: Sequence[System], full_cost: float, commit: str, crossed: bool = False
    ) -> Plane:
        rows, right = [], {}
        for system in systems:
            for judged in system.points:
                row = row_of(system, judged, full_cost, commit, crossed)
                rows.append(row)
                right[row.key] = judged.answer_B == system.models[-1].dev.labels
        return cls(rows, DataFrame(right))

    @classmethod
    def read(cls, folder: Path, task: str) -> Plane:
        rows = jsonl.read(folder / f"{task}.jsonl", PlaneRow)
        timed = times_path(folder, task)
        times = jsonl.read(timed, TimedRow) if timed.is_file() else []
        if any(time.data != rows[0].data for time in times):
            raise ConfigError(f"{timed} is of other texts than the plane beside it: time anew")
        return cls(rows, read_parquet(folder / f"{task}.parquet"), times)

    def write(self, folder: Path) -> None:
        task = self.rows[0].task
        folder.mkdir(parents=True, exist_ok=True)
        jsonl.write(folder / f"{task}.jsonl", self.rows)
        with replacing(folder / f"{task}.parquet") as beside:
            self.right.to_parquet(beside, compression="zstd")

    @property
    def front(self) -> list[PlaneRow]:
        """Rows than which none is as accurate or more at as little cost or less, from the cheapest
        on. Rows asked by the share of unchanged answers repeat others and are left out."""
        found: list[PlaneRow] = []
        rows = [row for row in self.rows if not row.setting.startswith("agree")]
        for row in sorted(rows, key=lambda row: (row.gflops, -row.accuracy)):
            if not found or row.accuracy > found[-1].accuracy:
                found.append(row)
        return found

    def difference(self, row: PlaneRow, other: PlaneRow) -> str:
        """Points by which a row is more accurate, with the paired 95 % interval."""
        right_B, other_B = (self.right[each.key].to_numpy() for each in (row, other))
        found = paired_difference(right_B, other_B).times(100)
        bold = "**" if found.low > 0 or found.high < 0 else ""
        return f"{bold}{found.text(sign='+')}{bold}"
