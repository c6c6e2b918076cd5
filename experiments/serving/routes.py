"""`python -m experiments.serving.routes RUN`: p99 of other servers' routes beside the native one's.

One gateway, one run. In each round every route gets the same texts at the same Poisson times, in an
order drawn anew, so that what else the machine does falls on all of them. The rows are written to
`results/routes.jsonl`.
"""

from __future__ import annotations

import argparse
import asyncio
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
from experiments.serving.traffic import Client, Shot, closed_loop, open_loop, poisson

ROWS = Path(__file__).parent / "results" / "routes.jsonl"
BLOCK, DRAWS = 20, 1000  # requests of a block, drawings of the bootstrap


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
        rate: requests a second, as a Poisson process has them.
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
) -> dict[str, list[Shot]]:
    """Shots of each route, over all rounds."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Shot]] = {route.name: [] for route in routes}
    for number in range(num_rounds):
        times = poisson(rate, seconds, seed + number)
        drawn = [examples[i] for i in rng.integers(len(examples), size=len(times))]
        for place in rng.permutation(len(routes)):
            route = routes[place]
            asking = replace(client, path=route.path)
            requests = [asking.request(route.body(texts)) for texts in drawn]
            found[route.name] += await open_loop(asking, requests, times)
            asking.close()
    return found


def rows_of(found: dict[str, list[Shot]], about: dict[str, Any]) -> list[RouteRow]:
    """A row for each route; the first one is what the others stand beside.

    Args:
        about: a row's fields of the run and the load.
    """
    ms = {
        name: np.array([1000 * (shot.ended - shot.due) for shot in shots])
        for name, shots in found.items()
    }
    first_N = next(iter(ms.values()))
    return [
        RouteRow(
            **about,
            route=name,
            num_sent=len(ms_N),
            num_answered=sum(shot.status == 200 for shot in found[name]),
            p50_ms=float(np.percentile(ms_N, 50)),
            p99_ms=float(np.percentile(ms_N, 99)),
            p50_ratio=ratio(ms_N, first_N, 50),
            p99_ratio=ratio(ms_N, first_N, 99),
            **provenance(),
        )
        for name, ms_N in ms.items()
    ]


def ratio(ms_N: np.ndarray, first_N: np.ndarray, percent: float) -> tuple[float, float, float]:
    """The ratio of two routes' percentiles, and its 95 % interval.

    Paired bootstrap over blocks of neighbours, since a request waits for those before it.
    """
    blocks = np.array_split(np.arange(len(ms_N)), max(1, len(ms_N) // BLOCK))
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        chosen = np.concatenate([blocks[i] for i in rng.integers(len(blocks), size=len(blocks))])
        drawn.append(np.percentile(ms_N[chosen], percent) / np.percentile(first_N[chosen], percent))
    value = np.percentile(ms_N, percent) / np.percentile(first_N, percent)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(value), float(low), float(high)


def table(rows: Sequence[RouteRow]) -> str:
    """The page's table."""
    lines = ["| route | requests | answered | p50 ms | p99 ms | p50 / native | p99 / native |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        cells = [row.route, row.num_sent, row.num_answered, f"{row.p50_ms:.1f}"]
        cells += [f"{row.p99_ms:.1f}", ranged(row.p50_ratio, 3), ranged(row.p99_ratio, 3)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="the folder of a finished run")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20, help="of a route in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server-core", type=int, default=None)
    parser.add_argument("serve", nargs="*", help="more settings of serve: threads=2")
    given = parser.parse_args()
    run = Run.open(given.run)
    examples = list(zip(*run.data().source(given.split).texts, strict=True))
    overrides = [f"run={quoted(given.run)}", *given.serve]
    with gateway(overrides, given.server_core) as (host, port):
        client, routes = Client(host, port, 10_000), routes_of(run)

        async def measured() -> dict[str, list[Shot]]:
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
    rows = rows_of(found, about)
    jsonl.write(ROWS, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
