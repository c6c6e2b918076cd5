"""A gateway of its own process, on a core of its own, for as long as it is measured."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import PLAIN
from eat_lightning.overrides import quoted
from experiments.serving.plan import LoadSettings, pin
from experiments.serving.rows import LoadRow, measured
from experiments.serving.traffic import (
    Client,
    answered_rate,
    kept_busy,
    open_loop,
    poisson,
)

STOP_S = 60


@dataclass(frozen=True)
class Subject:
    """exits: "own", or "never". overrides: of `serve`."""

    backend: str
    exits: str
    overrides: list[str]


def subjects(plan: LoadSettings, form: str | None = None) -> list[Subject]:
    """The static ones first, since the others are also put under their load. form: of the weights
    that the certificate holds for, which the static one then has too."""

    def of(backend: str, exits: str, run: str, *overrides: str) -> Subject:
        return Subject(backend, exits, [f"run={quoted(run)}", *overrides, *plan.serve])

    plain = ["prepack=false"] if form == PLAIN else []
    found = [of("torch", "never", plan.run, "exit=never", *plain)]
    if plan.onnx_static:
        found.append(of("onnx", "never", plan.onnx_static, "backend=onnx"))
    own = [f"certificate={plan.certificate}"] if plan.certificate else []
    found.append(of("torch", "own", plan.run, *own))
    if plan.onnx:
        found.append(of("onnx", "own", plan.onnx, "backend=onnx"))
    return found


@contextmanager
def gateway(overrides: Sequence[str], core: int | None) -> Iterator[tuple[str, int]]:
    """Its host and port, once it serves. ConfigError where it does not start, or does not stop
    with status 0."""
    command = [sys.executable, "-m", "eat_lightning.serve", "port=0", *overrides]
    pinned = None if core is None else partial(pin, core)
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


def load_rows(
    plan: LoadSettings,
    mode: str,
    subject: Subject,
    examples: Sequence[dict[str, str]],
    about: Mapping[str, str],
    static: dict[str, float],
) -> list[LoadRow]:
    """Measure one gateway: its capacity, then each level of it, then all that static can take.

    about: a row's fields of the run and the machine. static: the capacity of the static gateway by
    backend, in which that of a static subject is noted.
    """
    inline = mode == "inline"
    batch, queue = (1, plan.queue.inline) if inline else (plan.batch, plan.queue.triage)
    given = {"mode": mode, "batch": batch, "wait_ms": plan.wait_ms, "queue": queue}
    overrides = [*subject.overrides, "max_texts=1", *(f"{k}={v}" for k, v in given.items())]
    with gateway(overrides, plan.server_core) as (host, port):
        client = Client(host, port, plan.deadline_ms)
        loads = asyncio.run(loads_of(client, plan, subject, batch, examples, static))
    fixed: dict[str, Any] = given | {"backend": subject.backend, "exits": subject.exits}
    fixed |= {"deadline_ms": plan.deadline_ms, "seconds": plan.seconds}
    return [LoadRow(**fixed, **about, **load) for load in loads]


async def loads_of(
    client: Client,
    plan: LoadSettings,
    subject: Subject,
    batch: int,
    examples: Sequence[dict[str, str]],
    static: dict[str, float],
) -> list[dict[str, Any]]:
    """A row's fields of each load on a gateway: at the levels of its own capacity, and at all of
    the static one's, where that is known."""
    await kept_busy(client, examples, batch, plan.warm_s, plan.seed)
    shots = await kept_busy(client, examples, batch, plan.capacity_s, plan.seed)
    capacity = answered_rate(shots, plan.capacity_s)
    if not capacity:
        raise ConfigError(f"no answer within capacity_s={plan.capacity_s:g}: give it more")
    levels = [("own", level, level * capacity) for level in plan.levels]
    if subject.exits == "never":
        static[subject.backend] = capacity
    elif subject.backend in static:
        levels.append(("static", 1.0, static[subject.backend]))
    loads = []
    for basis, level, rate in levels:
        times = poisson(rate, plan.seconds, plan.seed)
        shots = await open_loop(client, client.drawn(examples, len(times), plan.seed), times)
        load = {"basis": basis, "level": level, "capacity": capacity}
        load["offered"] = len(times) / plan.seconds
        try:
            loads.append(load | measured(shots, plan.seconds))
        except ValueError as error:
            raise ConfigError(f"levels: at {level:g} of {basis} {error}") from None
        await asyncio.sleep(plan.rest_s)
    client.close()
    return loads
