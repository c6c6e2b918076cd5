"""`python -m experiments.serving.routes RUN`: p99 of other servers' routes beside the native one's.

One gateway, one run. In each round every route gets the same texts at the same Poisson times, in an
order drawn anew: short rounds let what else the machine does fall on all of them. The rows are
written to `results/routes.jsonl`.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.overrides import quoted
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run, provenance
from experiments.bench.tables import ranged
from experiments.serving.subject import gateway
from experiments.serving.traffic import Client, Shot, closed_loop, open_loop, poisson, shoot

ROWS = Path(__file__).parent / "results" / "routes.jsonl"
DRAWS = 1000  # of the bootstrap
ALONE = 25  # requests for each second of a round, where none waits for another


@dataclass(frozen=True)
class Route:
    """A path, and the body for a text (of a pair: two)."""

    name: str
    path: str
    body: Callable[[Sequence[str]], Any]


def one_or_pair(texts: Sequence[str]) -> Any:
    return texts[0] if len(texts) == 1 else list(texts)


def native(texts: Sequence[str]) -> Any:
    return dict(zip(("text", "text_pair"), texts, strict=False))


@dataclass(frozen=True)
class RouteRow:
    """Times of a route, in ms from when a request was due.

    Args:
        rate: requests a second, as a Poisson process has them; 0: each is sent when the one before
            is answered, so that none waits.
        seconds: of a route in a round.
        p50_ratio, p99_ratio: to the native route's, and the 95 % interval.
    """

    run: str
    route: str
    rate: float
    seconds: float
    rounds: int
    num_sent: int
    num_answered: int
    p50_ms: float
    p99_ms: float
    p50_ratio: tuple[float, float, float]
    p99_ratio: tuple[float, float, float]
    machine: str
    commit: str
    version: str


ROUTES = [
    Route("native", "/classify", native),
    Route("tei", "/predict", lambda texts: {"inputs": one_or_pair(texts)}),
    Route("hf", "/classify", lambda texts: {"inputs": hf_inputs(texts), "parameters": {}}),
]
VLLM = Route("vllm", "/v1/classify", lambda texts: {"input": texts[0]})
COHERE = Route("cohere", "/v1/rerank", lambda texts: {"query": texts[0], "documents": [texts[1]]})


def hf_inputs(texts: Sequence[str]) -> Any:
    return texts[0] if len(texts) == 1 else native(texts)


def routes_of(run: Run) -> list[Route]:
    """Routes that a run's task has."""
    if len(run.task.columns) == 1:
        return [*ROUTES, VLLM]
    return ROUTES if run.task.labels else [*ROUTES, COHERE]


async def rounds(
    client: Client,
    routes: Sequence[Route],
    examples: Sequence[Sequence[str]],
    rate: float,
    seconds: float,
    num_rounds: int,
    seed: int = 0,
) -> dict[str, list[list[Shot]]]:
    """Shots of each route by round."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[list[Shot]]] = {route.name: [] for route in routes}
    for number in range(num_rounds):
        times = poisson(rate or ALONE, seconds, seed + number)
        drawn = [examples[i] for i in rng.integers(len(examples), size=len(times))]
        for place in rng.permutation(len(routes)):
            route = routes[place]
            asking = replace(client, path=route.path)
            requests = [asking.request(route.body(texts)) for texts in drawn]
            sent = open_loop(asking, requests, times) if rate else one_by_one(asking, requests)
            found[route.name].append(await sent)
            asking.close()
    return found


async def one_by_one(client: Client, requests: Sequence[bytes]) -> list[Shot]:
    """Send each request when the one before is answered."""
    start = time.perf_counter()
    return [
        await shoot(client, request, time.perf_counter() - start, start) for request in requests
    ]


def rows_of(found: dict[str, list[list[Shot]]], about: dict[str, Any]) -> list[RouteRow]:
    """A row for each route; the first one is what the others stand beside.

    Args:
        about: a row's fields of the run and the load.
    """
    ms = {
        name: [np.array([1000 * (shot.ended - shot.due) for shot in shots]) for shots in by_round]
        for name, by_round in found.items()
    }
    first = next(iter(ms.values()))
    made = []
    for name, taken in ms.items():
        statuses = [shot.status for shots in found[name] for shot in shots]
        row = RouteRow(
            **about,
            route=name,
            num_sent=len(statuses),
            num_answered=statuses.count(200),
            p50_ms=float(np.percentile(np.concatenate(taken), 50)),
            p99_ms=float(np.percentile(np.concatenate(taken), 99)),
            p50_ratio=ratio(taken, first, 50),
            p99_ratio=ratio(taken, first, 99),
            **provenance(),
        )
        made.append(row)
    return made


def ratio(
    taken: Sequence[np.ndarray], first: Sequence[np.ndarray], percent: float
) -> tuple[float, float, float]:
    """The ratio of two routes' percentiles, and its 95 % interval (paired bootstrap over rounds).

    Args:
        taken, first: ms of the requests of each round.
    """

    def of(rounds: Any) -> float:
        of_route, of_first = (np.concatenate([ms[i] for i in rounds]) for ms in (taken, first))
        return float(np.percentile(of_route, percent) / np.percentile(of_first, percent))

    rng, num = np.random.default_rng(0), len(taken)
    low, high = np.percentile([of(rng.integers(num, size=num)) for _ in range(DRAWS)], (2.5, 97.5))
    return of(range(num)), float(low), float(high)


def table(rows: Sequence[RouteRow]) -> str:
    """The page's table."""
    lines = [
        "| load | route | requests | answered | p50 ms | p99 ms | p50 / native | p99 / native |"
    ]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        load = f"{row.rate:g} a second" if row.rate else "one by one"
        cells = [load, row.route, row.num_sent, row.num_answered, f"{row.p50_ms:.1f}"]
        cells += [f"{row.p99_ms:.1f}", ranged(row.p50_ratio, 3), ranged(row.p99_ratio, 3)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="the folder of a finished run")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--rate", type=float, default=20, help="a second; 0: one by one")
    parser.add_argument("--seconds", type=float, default=2, help="of a route in a round")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--server-core", type=int, default=None)
    parser.add_argument("serve", nargs="*", help="more settings of serve: threads=2")
    given = parser.parse_args()
    run = Run.open(given.run)
    examples = list(zip(*run.data().source(given.split).texts, strict=True))
    overrides = [f"run={quoted(given.run)}", *given.serve]
    with gateway(overrides, given.server_core) as (host, port):
        client, routes = Client(host, port, 10_000), routes_of(run)

        async def measured() -> dict[str, list[list[Shot]]]:
            warm = client.drawn([native(texts) for texts in examples], 50, 0)
            await closed_loop(client, warm, 1, 3)
            client.close()
            return await rounds(client, routes, examples, given.rate, given.seconds, given.rounds)

        found = asyncio.run(measured())
    about = {
        "run": run.name,
        "rate": given.rate,
        "seconds": given.seconds,
        "rounds": given.rounds,
    }
    kept = [row for row in jsonl.read(ROWS, RouteRow) if row.rate != given.rate]
    rows = [*kept, *rows_of(found, about)]
    jsonl.write(ROWS, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
