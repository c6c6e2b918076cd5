"""`python -m experiments.bench`: how fast the encoders are, against their rivals and against what
the machine can do."""

from __future__ import annotations

from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError
from experiments.bench.plan import BenchSettings, refuse_if_busy, session

if TYPE_CHECKING:
    import numpy as np

    from experiments.bench.rows import BenchRow
    from experiments.bench.setup import Race
    from experiments.bench.workload import Workload

FEWEST = 2  # repeats that are worth a row


def bench(config: dict[str, Any]) -> list[BenchRow]:
    """Run it all; a workload's rows are kept as soon as there are any, tables and figures are made
    at the end. Returns the new rows.

    Raises ConfigError, one line per fault, before anything is timed.
    """
    plan = parsed(BenchSettings, config)
    refuse_if_busy(plan.force)
    from eat_lightning.record.timing import keep_kernels
    from eat_lightning.runs import jsonl
    from experiments.bench import show
    from experiments.bench.rows import BenchRow
    from experiments.bench.setup import race_of

    keep_kernels()
    folder = Path(plan.to)
    with TemporaryDirectory() as exports:
        race = race_of(plan, Path(exports))
        if plan.only is not None:
            race.field.only(plan.only)
        if not race.field.candidates:
            raise ConfigError(f"only={plan.only} is in no candidate's name")
        for line in race.field.missing:
            print(line, flush=True)
        new = timed(race, plan)
    kept = jsonl.read(folder / "rows.jsonl", BenchRow)
    of_race = [row for row in kept if row.race == race.name]
    if not of_race:
        raise ConfigError("no workload fitted: give more minutes=, or fewer examples= or tasks=")
    show.report(kept, folder)
    print(show.table_of(of_race).to_string(index=False))
    print(f"written: {folder}")
    return new


def timed(race: Race, plan: BenchSettings) -> list[BenchRow]:
    """Race on one workload after the other while there is time."""
    from eat_lightning.record.timing import undisturbed
    from eat_lightning.runs import jsonl
    from experiments.bench.ceilings import ceilings
    from experiments.bench.race import rows_of
    from experiments.bench.rows import BenchRow

    same: dict[str, Any] = {"race": race.name, "weights": race.weights, "lengths": race.lengths}
    same |= session() | {"threads": plan.threads}
    candidates, rows = race.field.candidates, []
    end = inf if plan.minutes is None else monotonic() + 60 * plan.minutes
    with undisturbed(plan.threads):
        dtypes = dict.fromkeys(c.dtype for c in candidates)
        bounds = {dtype: ceilings(candidates[0].shape, dtype) for dtype in dtypes}
        for dtype, bound in bounds.items():
            print(f"ceilings, {dtype}: {bound}", flush=True)
        for workload in race.workloads:
            took = times_by(end, race, workload, plan)
            if took is None:
                continue
            refuse_if_busy(plan.force, "begun meanwhile: the last times are not kept")
            new = rows_of(race.field, workload, took, bounds, **same)
            jsonl.update(Path(plan.to) / "rows.jsonl", BenchRow, new)
            rows += new
            times = ", ".join(f"{row.candidate} {row.ms[0]:.2f}" for row in new)
            print(f"{workload.name}, {new[0].repeats} repeats, ms: {times}", flush=True)
    return rows


def times_by(
    end: float, race: Race, workload: Workload, plan: BenchSettings
) -> dict[str, np.ndarray] | None:
    """Milliseconds of an example by candidate, in as many repeats as fit before `end`; None where
    too few do, which is printed."""
    from experiments.bench.race import ready, take_turns

    if monotonic() > end:
        print(f"{workload.name}: left out, minutes={plan.minutes} are over", flush=True)
        return None
    given = ready(race.field.candidates, workload)
    repeats = repeats_that_fit(race.repeats, given.seconds, end - monotonic())
    if not repeats:
        takes = f"it takes {FEWEST * given.seconds / 60:.1f} minutes"
        print(f"{workload.name}: left out, {takes} (minutes={plan.minutes})", flush=True)
        return None
    return take_turns(given, workload, repeats)


def repeats_that_fit(repeats: int, seconds: float, left: float) -> int:
    """0 where what is left of the time allows too few."""
    fitting = int(min(repeats, left // seconds))
    return fitting if fitting >= min(FEWEST, repeats) else 0


main = entry("bench", bench, folder=str(Path(__file__).parent))

if __name__ == "__main__":
    main()
