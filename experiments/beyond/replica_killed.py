"""Answers to clients when a replica dies: `serve engine=ray replicas=2`, asked by a Poisson
process, with one of its replicas killed on the way.

    tests/beyond/ray_head.sh /tmp/ray 8          # in another terminal; prints RAY_... RAY_...
    RAY_.. python -m experiments.beyond.replica_killed RUN [--rate 20] [--seconds 60] [of serve]

Prints statuses, and latency from the time when a request was due: before the kill, within ten
seconds of it, and after. Needs `pip install 'eat_lightning[ray]'`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eat_lightning.runs.run import Run
from experiments.serving.subject import gateway
from experiments.serving.traffic import Client, Shot, closed_loop, open_loop, poisson

DEADLINE_MS = 20_000
NEAR_S = 10.0  # of a kill
KILL = """
import ray, sys
ray.init("auto", namespace="serve", log_to_driver=False, logging_level="ERROR")
actors = ray.util.list_named_actors(all_namespaces=True)
names = sorted(a["name"] for a in actors if "eat_lightning#replica#" in a["name"])
ray.kill(ray.get_actor(names[0]), no_restart=True)
"""


async def asked(
    client: Client, requests: Sequence[bytes], rate: float, seconds: float
) -> tuple[list[Shot], float]:
    """Each request's end, and when a replica had been killed."""
    await closed_loop(client, requests, 4, 5.0)  # warm
    times = poisson(rate, seconds, seed=0)
    loop = asyncio.ensure_future(open_loop(client, requests[: len(times)], times))
    start = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds / 3)
    killer = await asyncio.create_subprocess_exec(sys.executable, "-c", KILL)
    assert await killer.wait() == 0
    killed = asyncio.get_running_loop().time() - start
    return await loop, killed


def said(title: str, shots: Sequence[Shot]) -> str:
    ms = [1000 * (shot.ended - shot.due) for shot in shots if shot.status == 200]
    p50, p99 = np.percentile(ms, [50, 99]) if ms else (np.nan, np.nan)
    statuses = dict(Counter(shot.status for shot in shots))
    most = max(ms, default=np.nan)
    return f"{title}: {statuses}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {most:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    given, overrides = parser.parse_known_args()
    run = Run.open(given.run)
    texts = run.data().source("validation").texts
    examples = [dict(zip(run.task.columns, each, strict=True)) for each in zip(*texts, strict=True)]
    rng = np.random.default_rng(0)
    ours = [f"run={given.run}", "engine=ray", "replicas=2", f"deadline_ms={DEADLINE_MS}"]
    with gateway([*ours, *overrides], None) as (host, port):
        client = Client(host, port, DEADLINE_MS)
        drawn = rng.integers(len(examples), size=int(2 * given.rate * given.seconds) + 100)
        requests = [client.request(examples[i]) for i in drawn]
        shots, killed = asyncio.run(asked(client, requests, given.rate, given.seconds))
    # The killer looks for the actor first, so that the kill lies up to two seconds before its end.
    first = killed - 2
    before = [shot for shot in shots if shot.ended < first]
    near = [shot for shot in shots if shot.ended >= first and shot.due < killed + NEAR_S]
    after = [shot for shot in shots if shot.due >= killed + NEAR_S]
    for title, some in (("before", before), ("around the kill", near), ("after", after)):
        print(said(f"{title} ({len(some)} requests)", some))


if __name__ == "__main__":
    main()
