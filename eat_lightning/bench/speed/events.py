"""What is raced, by whom, over which examples: the settings of configs/bench.yaml made real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.bench.speed import contestants as random_weights
from eat_lightning.bench.speed.compiled import compiled
from eat_lightning.bench.speed.contestants import Field, Work
from eat_lightning.bench.speed.deployed import deployed, easy, near
from eat_lightning.bench.speed.heats import Heat, Pool, heats, random_words
from eat_lightning.bench.speed.peers import onnxruntime_peers, openvino_peer
from eat_lightning.bench.speed.training import steps
from eat_lightning.errors import ConfigError
from eat_lightning.methods.exit.confidence import confidence
from eat_lightning.model.encoder import Shape
from eat_lightning.runs.run import Run

KEPT = Path("experiments") / "results" / "frontier"
BATCHES = {
    **{"speed": [1, 32, 8, 128], "deployed": [1, 32], "compiled": [1, 32]},
    **{"cost": [1, 32], "training": [32]},
}
REPEATS = {"speed": 3, "deployed": 5, "compiled": 5, "cost": 15, "training": 5}


@dataclass
class Event:
    """`race` names the table; `weights` are random, or a run's."""

    race: str
    weights: str
    field: Field
    heats: Iterator[Heat]
    repeats: int


def event_of(config: dict[str, Any], exports: Path) -> Event:
    """ConfigError where the run, its data or the kept lengths are not there. `exports`: a folder
    for graphs, until the race is over."""
    return of_run(config, exports) if config["run"] else of_random_weights(config, exports)


def of_random_weights(config: dict[str, Any], exports: Path) -> Event:
    what, dtype, seed = config["what"], config["dtype"], config["seed"]
    pools = pools_of(config)
    deep = Shape(**config["encoder"])
    half = replace(deep, num_layers=deep.num_layers // 2)
    race = {"speed": dtype, "cost": f"cost-{dtype}", "training": "training"}[what]
    if what == "speed":
        field = random_weights.contestants(config["encoder"], config["ratio"], dtype, seed)
        add_peers(field, dtype, exports, config["threads"])
    else:
        encoder = random_weights.random_encoder(half, seed)
        field = random_weights.idling(encoder, dtype) if what == "cost" else steps(encoder)
    works = random_words(pools, config["leaving"], deep.vocab_size, seed)
    lengths = {task: pool.lengths_B for task, pool in pools.items()}
    return event(race, "random", field, config, what, lengths, works)


def event(
    race: str,
    weights: str,
    field: Field,
    config: dict[str, Any],
    what: str,
    lengths: dict[str, np.ndarray],
    works: Callable[[str, list[np.ndarray]], list[Work]],
) -> Event:
    """`what`: whose number of batches and repeats are taken where none are given."""
    batches = config["batches"] or BATCHES[what]
    found = heats(lengths, batches, config["examples"], config["seed"], works)
    if what == "training":  # batches by length are another treatment than a plain loop's
        found = (heat for heat in found if heat.order == "as they come")
    return Event(race, weights, field, found, config["repeats"] or REPEATS[what])


def add_peers(field: Field, dtype: str, exports: Path, threads: int) -> None:
    """onnxruntime and OpenVINO, of the static encoder of all layers."""
    static = next(c for c in field.contestants if c.name == "static")
    assert static.encoder is not None
    dtypes = ("fp32", "int8") if dtype == "fp32" else (dtype,)
    for found, missing in (
        onnxruntime_peers(static, dtypes, exports, threads),
        openvino_peer(static, dtype, threads, static.encoder),
    ):
        field.contestants += found
        field.missing += missing


def of_run(config: dict[str, Any], exports: Path) -> Event:
    run = Run.open(config["run"])
    encoder, _ = run.model()
    what, dtype = config["what"], config["dtype"]
    if what == "training" and encoder.num_labels == 1:
        raise ConfigError(f"run={run.name} is a regression, and what=training trains classifiers")
    data = run.data(**config["data"])
    split = data.split("train" if what == "training" else "validation")

    def works(task: str, rows: list[np.ndarray]) -> list[Work]:
        return [Work(split.batch(one), easy(len(one))) for one in rows]

    lengths = {run.task.name: split.lengths}
    weights = f"{run.folder.parent.name}/{run.name}"
    if what != "speed":
        makes = {
            "cost": lambda: random_weights.idling(encoder, dtype),
            "training": lambda: steps(encoder),
            "compiled": lambda: compiled(encoder, dtype, exports, config["compilers"]),
        }
        field, race = makes[what](), what if what == "training" else f"{what}-{dtype}"
        return event(race, weights, field, config, what, lengths, works)
    dtypes = list(dict.fromkeys(("fp32", dtype)))
    field = deployed(encoder, dtypes, exports, config["threads"])
    found = event("deployed", weights, field, config, "deployed", lengths, works)
    found.heats = with_lengths(found.heats, split, run.task.name, config)
    return found


def with_lengths(
    others: Iterator[Heat], split: Any, task: str, config: dict[str, Any]
) -> Iterator[Heat]:
    """First single examples of about the lengths asked for."""
    for length in config["near"] or ():
        found, order = near(split, length, config["examples"] or 24)
        yield Heat(task, 1, order, found)
    yield from others


def pools_of(config: dict[str, Any]) -> dict[str, Pool]:
    """The dev examples of each task, from a kept study."""
    from eat_lightning.report.study import open_study

    path = config["lengths"] or KEPT
    found: dict[str, Pool] = {}
    for measured in open_study([str(path)]).measured:
        if measured.outcome is not None:
            pool = pool_of(measured.outcome.recorded)
            if measured.row.task not in found or pool.sure_B is not None:
                found[measured.row.task] = pool
    tasks = list(found) if config["tasks"] is None else config["tasks"]
    unknown = [task for task in tasks if task not in found]
    if unknown or not found:
        raise ConfigError(
            f"lengths={path} has no examples of {', '.join(map(str, unknown)) or 'any task'}: "
            "give a folder that eat_lightning.report wrote"
        )
    return {task: found[task] for task in tasks}


def pool_of(recorded: Any) -> Pool:
    """How sure its model was at the last exit before the end, if it has one."""
    import torch

    early = [layer for layer in recorded.guesses if layer < len(recorded.tokens_LB)]
    if not early or recorded.guesses[max(early)].shape[1] == 1:
        return Pool(recorded.lengths)
    guesses = torch.from_numpy(recorded.guesses[max(early)])
    return Pool(recorded.lengths, confidence(guesses[None]).numpy())
