"""`python -m experiments.serving.routes RUN`: p99 of other servers' routes beside the native one's.

One gateway, one run. In each round every route gets the same texts at the same Poisson times, in an
order drawn anew, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eat_lightning.overrides import quoted
from eat_lightning.runs.run import Run
from experiments.serving.subject import gateway
from experiments.serving.traffic import Client, Shot, closed_loop, open_loop, poisson


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


def table(found: dict[str, list[Shot]]) -> str:
    """Milliseconds from due to answered; the last column is p99 beside the first route's."""
    lines = ["| route | requests | answered | p50 ms | p99 ms | p99 / native |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    first = None
    for name, shots in found.items():
        taken_ms = [1000 * (shot.ended - shot.due) for shot in shots if shot.status == 200]
        p50, p99 = np.percentile(taken_ms, (50, 99)) if taken_ms else (np.nan, np.nan)
        first = p99 if first is None else first
        row = name, len(shots), len(taken_ms), f"{p50:.1f}", f"{p99:.1f}", f"{p99 / first:.3f}"
        lines.append(f"| {' | '.join(map(str, row))} |")
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

        print(table(asyncio.run(measured())))


if __name__ == "__main__":
    main()
