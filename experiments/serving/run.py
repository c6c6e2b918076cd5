"""Make the rows of this study, in the folder `to` (outputs/serving).

    python -m experiments.serving.run load run=RUN [onnx=EXPORT onnx_static=EXPORT]
    python -m experiments.serving.run routes run=RUN rate=20

`load` starts a gateway for each contestant and mode on a core of its own, and asks from another: in
a closed loop for the capacity, then in an open loop at each level of it. Static is the same weights
with exit=never. `routes` compares other servers' routes with the native one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field

from eat_lightning.config import RunFolder, Settings, parsed
from eat_lightning.deploy.serve.plan import Mode, absent_packages
from eat_lightning.errors import ConfigError, reported
from eat_lightning.overrides import quoted
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs.run import Run, provenance
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.validation import Count
from experiments.study import given_of

from .traffic import (
    Client,
    Shot,
    answered_rate,
    closed_loop,
    kept_busy,
    measured,
    open_loop,
    poisson,
    shoot,
)

STOP_S = 60
DRAWS = 1000  # of the bootstrap over rounds
ALONE = 25  # requests for each second of a round in which none waits for another
Seconds = Annotated[float, Field(gt=0, le=3_600_000)]


class LoadSettings(Settings):
    """Settings of `load`; cores are numbers, None is any. serve: more overrides of `eat serve`."""

    run: RunFolder
    onnx: str | None = None
    onnx_static: str | None = None
    modes: list[Mode] = Field(["inline", "triage"])
    levels: list[float] = Field([0.5, 0.8, 1.0, 1.2])
    seconds: Seconds = 10
    capacity_s: Seconds = 8
    batch: Annotated[int, Field(ge=16)] = 32
    wait_ms: float = 10
    deadline_ms: Seconds = 2000
    serve: list[str] = Field([])
    server_core: int | None = 0
    load_core: int | None = 1
    seed: Annotated[int, Field(ge=0)] = 0
    data: str | None = None
    to: str = "outputs/serving"


class RouteSettings(Settings):
    """Settings of `routes`. rate: requests a second by a Poisson process; 0: one by one. seconds:
    of a route in a round."""

    run: RunFolder
    rate: float = 20
    seconds: Seconds = 2
    rounds: Count = 40
    server_core: int | None = None
    to: str = "outputs/serving"


def load(plan: LoadSettings) -> list[Result]:
    """Results of every gateway in every mode; each gateway's are written when it has ended."""
    run, found = Run.open(plan.run), []
    texts = run.data(dir=plan.data).source("validation").texts
    examples = [dict(zip(run.task.columns, each, strict=True)) for each in zip(*texts, strict=True)]
    pin(plan.load_core)
    for mode in plan.modes:
        static: dict[str, float] = {}
        for subject in subjects_of(plan):
            fresh = list(loads_of(plan, run, mode, subject, examples, static))
            refuse_if_busy()
            result.update(Path(plan.to, "load.jsonl"), fresh)
            found += fresh
    return found


@dataclass(frozen=True)
class Subject:
    """A gateway to measure: exits "own" or "never", and overrides of `eat serve`."""

    backend: str
    exits: str
    overrides: list[str]


def subjects_of(plan: LoadSettings) -> list[Subject]:
    """The static ones first, since the adaptive ones are also put under their load."""

    def of(backend: str, exits: str, run: str, *overrides: str) -> Subject:
        return Subject(backend, exits, [f"run={quoted(run)}", *overrides, *plan.serve])

    found = [of("torch", "never", plan.run, "exit=never"), of("torch", "own", plan.run)]
    exports = {"never": plan.onnx_static, "own": plan.onnx}
    found += [of("onnx", exits, at, "backend=onnx") for exits, at in exports.items() if at]
    return found


@contextmanager
def gateway(overrides: Sequence[str], core: int | None) -> Iterator[tuple[str, int]]:
    """Host and port of a gateway of its own process, while it serves. ConfigError where it does not
    start, or does not stop with status 0."""
    command = [sys.executable, "-m", "eat_lightning.serve", "port=0", *overrides]
    pinned = partial(pin, core)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if not line.startswith("serving "):
                raise ConfigError(f"the gateway did not start: {' '.join(command)}")
            url = urlsplit(line.split(" on ")[1].split()[0])
            yield str(url.hostname), int(url.port or 0)
            child.send_signal(signal.SIGTERM)
            status = child.wait(STOP_S)
        finally:
            child.kill()
    if status:
        raise ConfigError(f"the gateway ended with status {status}")


def pin(core: int | None) -> None:
    """Keep this process on a core where the system can (Linux alone)."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def loads_of(
    plan: LoadSettings,
    run: Run,
    mode: str,
    subject: Subject,
    examples: Sequence[Any],
    static: dict[str, float],
) -> Iterator[Result]:
    """One gateway's results. static: the capacity of the static gateway by backend, in which that
    of a static subject is noted."""
    batch, queue = (1, 64) if mode == "inline" else (plan.batch, 256)
    where = {"batch": batch, "wait_ms": plan.wait_ms, "queue": queue}
    settings = [f"{name}={value}" for name, value in ({"mode": mode} | where).items()]
    overrides = [*subject.overrides, "max_texts=1", *settings]
    with gateway(overrides, plan.server_core) as (host, port):
        client = Client(host, port, plan.deadline_ms)
        loads = asyncio.run(asked(client, plan, subject, batch, examples, static))
    where |= {"run": run.name, "deadline_ms": plan.deadline_ms, "seconds": plan.seconds}
    for basis, level, values in loads:
        what = {"task": run.task.name, "mode": mode, "backend": subject.backend}
        what |= {"exits": subject.exits, "basis": basis, "level": level}
        yield Result(what, values, where | provenance())


async def asked(
    client: Client,
    plan: LoadSettings,
    subject: Subject,
    batch: int,
    examples: Sequence[Any],
    static: dict[str, float],
) -> list[tuple[str, float, dict[str, Any]]]:
    """Basis, level and values of each load: at the levels of the gateway's own capacity, and at all
    of the static one's, where that is known."""
    await kept_busy(client, examples, batch, 3, plan.seed)
    shots = await kept_busy(client, examples, batch, plan.capacity_s, plan.seed)
    capacity = answered_rate(shots, plan.capacity_s)
    if not capacity:
        raise ConfigError(f"no answer within capacity_s={plan.capacity_s:g}: give it more")
    levels = [("own", level, level * capacity) for level in plan.levels]
    if subject.exits == "never":
        static[subject.backend] = capacity
    elif subject.backend in static:
        levels.append(("static", 1.0, static[subject.backend]))
    found = []
    for basis, level, rate in levels:
        times = poisson(rate, plan.seconds, plan.seed)
        shots = await open_loop(client, client.drawn(examples, len(times), plan.seed), times)
        offered = {"capacity": capacity, "offered": len(times) / plan.seconds}
        found.append((basis, level, offered | measured(shots, plan.seconds)))
        await asyncio.sleep(0.5)
    client.close()
    return found


def native(texts: Sequence[str]) -> Any:
    return dict(zip(("text", "text_pair"), texts, strict=False))


def tei(texts: Sequence[str]) -> Any:
    return {"inputs": texts[0] if len(texts) == 1 else list(texts)}


def hf(texts: Sequence[str]) -> Any:
    return {"inputs": texts[0] if len(texts) == 1 else native(texts), "parameters": {}}


Body = Callable[[Sequence[str]], Any]
ROUTES: dict[str, tuple[str, Body]] = {
    "native": ("/classify", native),
    "tei": ("/predict", tei),
    "hf": ("/classify", hf),
}


def routes(plan: RouteSettings) -> list[Result]:
    """A result for each route. In a round every route gets the same texts at the same times, in an
    order drawn anew, so what else the machine does falls on all of them."""
    run = Run.open(plan.run)
    examples = list(zip(*run.data().source("validation").texts, strict=True))
    with gateway([f"run={quoted(plan.run)}"], plan.server_core) as (host, port):
        found = asyncio.run(rounds(Client(host, port, 10_000), examples, plan))
    ms = {name: [taken_ms(shots) for shots in by_round] for name, by_round in found.items()}
    where = {"seconds": plan.seconds, "rounds": plan.rounds} | provenance()
    made = []
    for name, by_round in ms.items():
        statuses = [shot.status for shots in found[name] for shot in shots]
        values: dict[str, Any] = {"num_sent": len(statuses), "num_answered": statuses.count(200)}
        for percent in (50, 99):
            values[f"p{percent}_ms"] = float(np.percentile(np.concatenate(by_round), percent))
            values[f"p{percent}_ratio"] = ratio(by_round, ms["native"], percent)
        made.append(Result({"run": run.name, "rate": plan.rate, "route": name}, values, where))
    refuse_if_busy()
    result.update(Path(plan.to, "routes.jsonl"), made)
    return made


async def rounds(
    client: Client, examples: Sequence[Sequence[str]], plan: RouteSettings
) -> dict[str, list[list[Shot]]]:
    """Shots of each route by round."""
    warm = client.drawn([native(texts) for texts in examples], 50, 0)
    await closed_loop(client, warm, 1, 3)
    client.close()
    rng, names = np.random.default_rng(0), list(ROUTES)
    found: dict[str, list[list[Shot]]] = {name: [] for name in names}
    for number in range(plan.rounds):
        times = poisson(plan.rate or ALONE, plan.seconds, number)
        drawn = [examples[int(i)] for i in rng.integers(len(examples), size=len(times))]
        for place in rng.permutation(len(names)):
            path, body = ROUTES[names[place]]
            asking = replace(client, path=path)
            requests = [asking.request(body(texts)) for texts in drawn]
            sent = open_loop(asking, requests, times) if plan.rate else one_by_one(asking, requests)
            found[names[place]].append(await sent)
            asking.close()
    return found


async def one_by_one(client: Client, requests: Sequence[bytes]) -> list[Shot]:
    """Shots of requests that are each sent when the one before is answered."""
    start = time.perf_counter()
    return [await shoot(client, each, time.perf_counter() - start, start) for each in requests]


def taken_ms(shots: Sequence[Shot]) -> np.ndarray:
    return np.array([1000 * (shot.ended - shot.due) for shot in shots])


def ratio(taken: Sequence[np.ndarray], first: Sequence[np.ndarray], percent: float) -> Interval:
    """The ratio of two routes' percentiles, with a 95 % paired bootstrap interval over rounds."""

    def of(rounds: Any) -> float:
        of_route, of_first = (np.concatenate([ms[i] for i in rounds]) for ms in (taken, first))
        return float(np.percentile(of_route, percent) / np.percentile(of_first, percent))

    rng, num = np.random.default_rng(0), len(taken)
    low, high = np.percentile([of(rng.integers(num, size=num)) for _ in range(DRAWS)], (2.5, 97.5))
    return Interval(of(range(num)), float(low), float(high))


def refuse_if_busy() -> None:
    """ConfigError where something trains on this machine, so that no such time is kept."""
    if faults := training_faults("another machine"):
        raise ConfigError.of(faults)


STEPS: dict[str, tuple[Any, Any]] = {
    "load": (load, LoadSettings),
    "routes": (routes, RouteSettings),
}


def main(words: Sequence[str]) -> None:
    step, *given = words or [""]
    if step not in STEPS:
        raise ConfigError(f"a step must be one of {', '.join(STEPS)}, got {step!r}")
    run, kind = STEPS[step]
    if faults := absent_packages(step):
        raise ConfigError.of(faults)
    plan = parsed(kind, given_of(given, [*kind.model_fields], needs=("run",)))
    refuse_if_busy()
    for each in run(plan):
        print(each.what, each.values, flush=True)


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
