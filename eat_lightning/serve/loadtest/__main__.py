"""`python -m eat_lightning.serve.loadtest run=<folder>`: what a gateway sustains."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eat_lightning.cli import entry, quoted
from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import PLAIN

if TYPE_CHECKING:
    from eat_lightning.serve.loadtest.rows import LoadRow

MODES = ("inline", "triage")


class Contestant(NamedTuple):
    """exits: "own", or "never". overrides: of `serve`."""

    backend: str
    exits: str
    overrides: list[str]


def load(config: dict[str, Any]) -> list[LoadRow]:
    """Measure every contestant in every mode; returns the new rows, each gateway's written when it
    has ended.

    Raises ConfigError, one line per fault, before a gateway is started.
    """
    if faults := setting_faults(config):
        raise ConfigError.of(faults)
    from eat_lightning.measure.plan import busy_faults, data_faults
    from eat_lightning.runs.run import Run, environment
    from eat_lightning.serve.loadtest.rows import write

    run = Run.open(config["run"])
    timing = {"enabled": True, "force": config["force"]}
    if faults := busy_faults(timing, "force=true") + data_faults(
        run, config["split"], config["data"]
    ):
        raise ConfigError.of(faults)
    texts = run.data(dir=config["data"]["dir"]).source(config["split"]).texts
    examples = [dict(zip(run.task.columns, each, strict=True)) for each in zip(*texts, strict=True)]
    where = environment()
    about = {
        **{"run": run.name, "task": run.task.name, "session": secrets.token_hex(6)},
        **{"machine": where["machine"], "commit": where["commit"] or ""},
        "version": where["eat_lightning"],
    }
    if config["load_core"] is not None:
        os.sched_setaffinity(0, {config["load_core"]})
    path, rows = Path(config["to"]) / "rows.jsonl", []
    for fresh in all_rows(config, examples, about):
        if busy_faults(timing):
            raise ConfigError("training began meanwhile: the last times are not kept")
        write(path, fresh)
        rows += fresh
    print(f"written: {path}")
    return rows


def all_rows(
    config: dict[str, Any], examples: list[dict[str, str]], about: dict[str, Any]
) -> Iterator[list[LoadRow]]:
    """Of one gateway at a time."""
    for mode in config["modes"]:
        static: dict[str, float] = {}  # capacity by backend
        for contestant in contestants(config, form_held(config)):
            rows = rows_of(config, mode, contestant, examples, about, static)
            for row in rows:
                print(described(row), flush=True)
            yield rows


def contestants(config: dict[str, Any], form: str | None = None) -> list[Contestant]:
    """The static ones first, since the others are also put under their load. form: of the weights
    that the certificate holds for, which the static one then has too."""
    run, more = [f"run={quoted(config['run'])}"], list(config["serve"])
    certificate = [f"certificate={config['certificate']}"] if config["certificate"] else []
    same = ["prepack=false"] if form == PLAIN else []
    found = [Contestant("torch", "never", [*run, "exit=never", *same, *more])]
    if config["onnx_static"]:
        folder = [f"run={quoted(config['onnx_static'])}", "backend=onnx"]
        found.append(Contestant("onnx", "never", [*folder, *more]))
    found.append(Contestant("torch", "own", [*run, *certificate, *more]))
    if config["onnx"]:
        folder = [f"run={quoted(config['onnx'])}", "backend=onnx"]
        found.append(Contestant("onnx", "own", [*folder, *more]))
    return found


def form_held(config: dict[str, Any]) -> str | None:
    from eat_lightning.predict.__main__ import form_held
    from eat_lightning.runs.run import Run

    name = config["certificate"]
    return form_held(Run.open(config["run"]), name) if name else None


def rows_of(
    config: dict[str, Any],
    mode: str,
    contestant: Contestant,
    examples: list[dict[str, str]],
    about: dict[str, Any],
    static: dict[str, float],
) -> list[LoadRow]:
    """Of one gateway: its capacity, then each level of it; where the static one's is known, also
    that one's."""
    from eat_lightning.serve.loadtest.client import Client, request_of
    from eat_lightning.serve.loadtest.rig import gateway
    from eat_lightning.serve.loadtest.rows import LoadRow, measured
    from eat_lightning.serve.loadtest.traffic import answered_rate, closed_loop, open_loop, poisson

    batch = 1 if mode == "inline" else config["batch"]
    queue = config["queue"][mode]
    given = {"batch": batch, "wait_ms": config["wait_ms"], "queue": queue}
    overrides = [f"mode={mode}", "max_texts=1", *(f"{k}={v}" for k, v in given.items())]
    rng = np.random.default_rng(config["seed"])

    async def all(host: str, port: int) -> list[LoadRow]:
        client, rows = Client(host, port), []

        def drawn(count: int) -> list[bytes]:
            places = rng.integers(len(examples), size=count).tolist()
            return [request_of(host, examples[i], config["deadline_ms"]) for i in places]

        askers = 4 if batch == 1 else 2 * batch
        for seconds in (config["warm_s"], config["capacity_s"]):
            shots = await closed_loop(client, drawn(2000), askers, seconds)
        if not (capacity := answered_rate(shots, seconds)):
            raise ConfigError(f"no answer within capacity_s={seconds:g}: give it more seconds")
        levels = [("own", level, capacity) for level in config["levels"]]
        if contestant.exits == "never":
            static[contestant.backend] = capacity
        elif contestant.backend in static:
            levels.append(("static", 1.0, static[contestant.backend]))
        for basis, level, whole in levels:
            times = poisson(level * whole, config["seconds"], config["seed"])
            shots = await open_loop(client, drawn(len(times)), times)
            row = LoadRow(
                **about,
                **{"backend": contestant.backend, "exits": contestant.exits, "mode": mode},
                **given,
                **{"deadline_ms": config["deadline_ms"], "basis": basis, "level": level},
                **{"capacity": capacity, "offered": len(times) / config["seconds"]},
                seconds=config["seconds"],
                **measured(shots, config["seconds"]),
            )
            rows.append(row)
            await asyncio.sleep(config["rest_s"])
        client.close()
        return rows

    with gateway([*contestant.overrides, *overrides], config["server_core"]) as (host, port):
        return asyncio.run(all(host, port))


def described(row: LoadRow) -> str:
    return (
        f"{row.mode}, {row.name}: capacity {row.capacity:.0f}/s; at {row.offered:.0f}/s "
        f"({100 * row.level:.0f} % of {row.basis}) {row.rps:.0f}/s answered, "
        f"p50 {row.p50_ms:.1f} ms, p99 {row.p99_ms:.1f} ms, 503 {100 * row.share_503:.1f} %, "
        f"depth {row.mean_depth:.2f}"
    )


def setting_faults(config: dict[str, Any]) -> list[str]:
    """Of what does not depend on a run."""
    from importlib.util import find_spec

    from eat_lightning.bounds import number_faults, whole_faults
    from eat_lightning.serve.__main__ import PACKAGES

    faults = []
    if not config["run"]:
        faults.append("run must name the folder of a finished run: run=outputs/...")
    wrong = [mode for mode in config["modes"] if mode not in MODES]
    if wrong or not config["modes"]:
        faults.append(f"modes must be among {', '.join(MODES)}, got {config['modes']}")
    faults += number_faults("levels", config["levels"], "(0, 10]")
    for key in ("seconds", "capacity_s", "warm_s", "deadline_ms"):
        faults += number_faults(key, [config[key]], "(0, 3600000]")
    faults += number_faults("rest_s", [config["rest_s"]], "[0, 60]")
    faults += whole_faults("batch", config["batch"], 16)
    there = os.sched_getaffinity(0)
    for key in ("server_core", "load_core"):
        if config[key] is not None and config[key] not in there:
            faults.append(f"{key} must be one of {sorted(there)}, or null, got {config[key]!r}")
    if config["server_core"] is not None and config["server_core"] == config["load_core"]:
        faults.append(f"load_core must be another than server_core={config['server_core']}")
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        faults.append(f"load needs {', '.join(absent)}: pip install 'eat-lightning[serve]'")
    return faults


main = entry("load", load)

if __name__ == "__main__":
    main()
