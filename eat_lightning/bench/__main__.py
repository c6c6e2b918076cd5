"""`python -m eat_lightning.bench`: how fast the encoders are, against their rivals and against what
the machine can do."""

from __future__ import annotations

import secrets
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.bench.speed.events import Event
    from eat_lightning.bench.speed.rows import BenchRow

KINDS = ("speed", "cost", "training", "compiled")
FEWEST = 2  # repeats that are worth a row


def bench(config: dict[str, Any]) -> list[BenchRow]:
    """Run it all; each heat's rows are kept as soon as there are any, tables and figures are made
    at the end. Returns the new rows.

    Raises ConfigError, one line per fault, before anything is timed.
    """
    if faults := faults_of(config):
        raise ConfigError.of(faults)
    from eat_lightning.bench.speed.events import event_of

    with TemporaryDirectory() as exports:
        event = event_of(config, Path(exports))
        for line in event.field.missing:
            print(line, flush=True)
        rows = timed(event, config)
    show(Path(config["to"]), event.race)
    return rows


def timed(event: Event, config: dict[str, Any]) -> list[BenchRow]:
    from eat_lightning.bench.speed.ceilings import ceilings
    from eat_lightning.bench.speed.race import race, ready, rows_of
    from eat_lightning.bench.speed.rows import write
    from eat_lightning.infer.latency import undisturbed
    from eat_lightning.measure.plan import busy_faults
    from eat_lightning.runs.run import environment

    where = environment()
    how = {
        **{"race": event.race, "weights": event.weights, "threads": config["threads"]},
        **{"machine": where["machine"], "commit": where["commit"] or ""},
        **{"version": where["eat_lightning"], "session": secrets.token_hex(6)},
    }
    runners, rows = event.field.contestants, []
    begun, limit = monotonic(), config["minutes"]
    with undisturbed(config["threads"]):
        dtypes = dict.fromkeys(c.dtype for c in runners)
        bounds = {dtype: ceilings(runners[0].shape, dtype) for dtype in dtypes}
        for dtype, bound in bounds.items():
            said = f"{bound.gflops:.0f} GFLOP/s, {bound.gbytes:.1f} GB/s"
            print(f"ceilings, {dtype}: {said}", flush=True)
        for heat in event.heats:
            if limit is not None and monotonic() - begun > 60 * limit:
                print(f"{heat.name}: left out, minutes={limit} are over", flush=True)
                continue
            given = ready(runners, heat)
            left = None if limit is None else 60 * limit - (monotonic() - begun)
            repeats = as_fits(event.repeats, given.seconds, left)
            if not repeats:
                takes = f"{FEWEST * given.seconds / 60:.1f} minutes"
                print(f"{heat.name}: left out, it takes {takes} (minutes={limit})", flush=True)
                continue
            took = race(given, heat, repeats)
            if busy_faults({"enabled": True, "force": config["force"]}):
                raise ConfigError("training began meanwhile: the last times are not kept")
            new = rows_of(event.field, heat, took, bounds, **how)
            write(Path(config["to"]) / "rows.jsonl", new)
            rows += new
            said = ", ".join(f"{row.contestant} {row.ms:.2f}" for row in new)
            print(f"{heat.name}, {repeats} repeats, ms: {said}", flush=True)
    return rows


def as_fits(repeats: int, seconds: float, left: float | None) -> int:
    """As many as fit in what is left, 0 where it would be too few."""
    if left is None:
        return repeats
    fitting = min(repeats, int(left / seconds))
    return fitting if fitting >= min(FEWEST, repeats) else 0


def show(folder: Path, race: str) -> None:
    """Tables and figure anew, of all rows that are there."""
    from eat_lightning.bench.speed import targets
    from eat_lightning.bench.speed.rows import read
    from eat_lightning.bench.speed.show import roofline, table_of
    from eat_lightning.report import figures, tables

    known = read(folder / "rows.jsonl")
    if not any(row.race == race for row in known):
        raise ConfigError("no heat fitted: give more minutes=, or fewer examples= or tasks=")
    table, verdicts = table_of(known, race), targets.table_of(known)
    for one in (table, verdicts):
        tables.write(one, folder)
    if not race.startswith(("cost", "training", "compiled")):
        figures.save(roofline(known, race), folder)
    tables.show(table)
    tables.show(verdicts)
    print(f"written: {folder}")


def faults_of(config: dict[str, Any]) -> list[str]:
    from eat_lightning.bounds import number_faults
    from eat_lightning.measure.plan import busy_faults, whole_faults

    sizes = {f"encoder.{key}": value for key, value in config["encoder"].items()}
    counts = {key: config[key] for key in ("examples", "repeats") if config[key] is not None}
    faults = [*whole_faults(sizes, 1), *whole_faults(counts | {"threads": config["threads"]}, 1)]
    faults += [*number_faults("ratio", config["ratio"], "[0, 1)")]
    faults += [*number_faults("leaving", config["leaving"], "[0, 1]")]
    if config["minutes"] is not None:
        faults += number_faults("minutes", config["minutes"], "(0, inf)")
    for key in ("batches", "near"):
        faults += list_faults(key, config[key])
    dtypes = ("fp32", "bf16")
    if config["run"] and config["what"] == "speed":
        dtypes = (*dtypes, "int8")  # it has no random weights and no gradients
    for key, known in (("dtype", dtypes), ("what", KINDS)):
        if config[key] not in known:
            faults.append(f"{key} must be one of {', '.join(known)}, got {config[key]!r}")
    if config["what"] == "compiled":
        faults += compiler_faults(config)
    layers, width, heads = (
        config["encoder"][k] for k in ("num_layers", "hidden_size", "num_heads")
    )
    if not faults and layers % 6:
        faults.append(f"encoder.num_layers must be a multiple of 6, got {layers}")
    if not faults and width % heads:
        faults.append(f"encoder.hidden_size must be a multiple of num_heads={heads}, got {width}")
    return [*faults, *busy_faults({"enabled": True, "force": config["force"]})]


def compiler_faults(config: dict[str, Any]) -> list[str]:
    from eat_lightning.bench.speed.compiled import COMPILERS

    faults, given = [], config["compilers"]
    if not isinstance(given, list) or not all(name in COMPILERS for name in given):
        faults.append(f"compilers must be a list out of {', '.join(COMPILERS)}, got {given!r}")
    if not config["run"]:
        faults.append("what=compiled traces a run with its own exits: give run=outputs/...")
    return faults


def list_faults(key: str, values: Any) -> list[str]:
    if values is None:
        return []
    if not isinstance(values, list):
        return [f"{key} must be a list such as [1,32], got {values!r}"]
    return [f"{key} must be 1 or more, got {value!r}" for value in values if not usable(value)]


def usable(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


main = entry("bench", bench)

if __name__ == "__main__":
    main()
