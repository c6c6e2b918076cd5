"""Workers on a Ray cluster, by Ray Data: a pool of actors, each with a model, which takes no more
shards than it can work on; a shard whose actor or node dies is done again by another, once.

Every node must see the run, the input and the output under the same paths. Each actor has weights
of its own in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from eat_lightning.cluster import join_ray
from eat_lightning.deploy.score.inputs import Shard
from eat_lightning.deploy.score.work import MOST_TRIES, Job, ShardEvent, Tally
from eat_lightning.errors import ConfigError
from eat_lightning.weights.untrusted import one_line


class Actor:
    """Opens the run once, then scores shards."""

    def __init__(self, make_job: Callable[[], Job]):
        self.job = make_job()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        place, shard = batch["item"][0]
        *_, last = self.job.events(place, shard)
        return {"event": [last]}


def connect(address: str | None) -> int:
    """Join the cluster, or start one of this machine; returns its processors. ConfigError where it
    cannot be reached."""
    import ray

    if address:
        join_ray("address", address, log_to_driver=False)
    elif not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of a dozen kinds
            raise ConfigError(f"engine=ray: no cluster starts ({one_line(error, 160)})") from None
    return int(ray.cluster_resources().get("CPU", 1))


def scored_on_ray(
    shards: Sequence[Shard], make_job: Callable[[], Job], workers: int
) -> Iterator[ShardEvent]:
    """Score shards. make_job: called on whatever node."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    # No bars and no plans of execution beside the progress line.
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a shard that is lost ends none of the others
    given = [{"item": (place, shard)} for place, shard in enumerate(shards)]
    data = ray.data.from_items(given, override_num_blocks=len(given)).map_batches(
        Actor,
        fn_constructor_args=(make_job,),
        batch_size=1,
        num_cpus=1,
        # One at a time: what waits at an actor dies with it, as if the fault were its own.
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        max_task_retries=MOST_TRIES - 1,
    )
    lost = dict(enumerate(shards))
    try:
        for row in data.iter_rows():
            lost.pop(row["event"].shard)
            yield row["event"]
    except Exception as error:
        raise ConfigError(f"engine=ray: {one_line(error, 200)}") from None
    for place, shard in lost.items():
        why = f"{shard.name}: {MOST_TRIES} actors died of it"
        yield ShardEvent(place, Tally(), fault=why, died=True)
