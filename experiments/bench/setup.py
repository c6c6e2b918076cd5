"""Candidates and examples of a race, made from its plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.shape import Shape
from eat_lightning.runs.exit_choice import ExitChoice
from eat_lightning.runs.open import at_choice, fitter_of
from eat_lightning.runs.run import Run
from eat_lightning.weights.families import FAMILIES
from experiments.bench.candidates import (
    Field,
    bare,
    idling,
    of_body,
    of_run,
    random_encoder,
    random_weights,
)
from experiments.bench.plan import BenchSettings
from experiments.bench.released import RELEASED
from experiments.bench.rivals import SHORT, add_exports, add_openvino
from experiments.bench.training import steps
from experiments.bench.workload import (
    SINGLES,
    Maker,
    Workload,
    itself,
    long_texts,
    near,
    pools,
    random_words,
    workloads,
)

KINDS = {  # batches and repeats, where nothing is said; deployed: a run's speed, body: a body's
    "speed": ([1, 32, 8, 128], 3),
    "deployed": ([1, 32], 5),
    "body": ([1, 32], 3),
    "cost": ([1, 32], 15),
    "training": ([32], 5),
}
RIVALS = {"HF": "HF fp32", "static int8": "ORT static int8", "static": "static fp32"}


@dataclass
class Race:
    """name: of the table; weights: "random", or a run's; lengths: as in `BenchRow`."""

    name: str
    weights: str
    lengths: str
    field: Field
    workloads: Iterator[Workload]
    repeats: int


def race_of(plan: BenchSettings, exports: Path) -> Race:
    """ConfigError where the run, its data or the lengths are not there. `exports`: a folder for
    graphs, until the race is over."""
    if plan.run:
        return race_of_run(plan, plan.run, exports)
    examples = pools(plan.lengths, plan.tasks)
    shape = shape_of(plan.body) if plan.body else Shape(**plan.encoder.model_dump())
    name, field = of_random(plan, shape, exports)
    kind = "body" if plan.body else plan.what
    make = random_words(examples, plan.leaving, shape.vocab_size, plan.seed)
    found = workloads_of(plan, kind, {task: x.lengths_B for task, x in examples.items()}, make)
    if plan.long:  # after the short texts of the tasks
        found = chain(found, long_texts(shape, plan.long))
    source = "histogram" if plan.lengths is None else Path(plan.lengths).name
    return Race(name, "random", source, field, found, plan.repeats or KINDS[kind][1])


def shape_of(body: str) -> Shape:
    family = FAMILIES[RELEASED[body]["model_type"]]
    return Shape(**family.shape_of(RELEASED[body], family.sep_token_id))


def of_random(plan: BenchSettings, shape: Shape, exports: Path) -> tuple[str, Field]:
    """The race's name and who races with random weights."""
    if plan.body:
        return f"{plan.body}-{plan.dtype}", of_body(shape, plan.ratio, plan.dtype, plan.seed)
    if plan.what != "speed":
        half = replace(shape, num_layers=shape.num_layers // 2)
        return field_of(plan, random_encoder(half, seed=plan.seed))
    field = random_weights(shape, plan.ratio, plan.dtype, plan.seed)
    same = random_encoder(shape, plan.ratio, plan.seed)
    dtypes = ("fp32", "int8") if plan.dtype == "fp32" else (plan.dtype,)
    for engine in SHORT:
        add_exports(field, engine, "static", dtypes, exports, plan.threads, bare(same))
    add_openvino(field, "static", same, plan.dtype, plan.threads)
    return plan.dtype, field


def at_budget(run: Run, plan: BenchSettings) -> AdaptiveEncoder:
    """The run's encoder; with a budget, its exits where they are for it, fitted on the calibration
    cut if they are not kept yet."""
    encoder, _ = run.model()
    if plan.budget is None:
        return encoder
    choice = ExitChoice.of({"budget": plan.budget}, run.model_config()["exit"])
    return at_choice(fitter_of(run, encoder, choice, dir=plan.data.dir), choice)


def field_of(plan: BenchSettings, encoder: AdaptiveEncoder) -> tuple[str, Field]:
    """The race's name and who races, of a comparison other than speed."""
    if plan.what == "training":
        return "training", steps(encoder)
    return f"cost-{plan.dtype}", idling(encoder, plan.dtype)


def race_of_run(plan: BenchSettings, path: str, exports: Path) -> Race:
    run = Run.open(path)
    encoder = at_budget(run, plan)
    if plan.what == "training" and encoder.num_labels == 1:
        raise ConfigError(f"run={run.name} is a regression, and what=training trains classifiers")
    data = run.data(dir=plan.data.dir)
    split = data.split("train" if plan.what == "training" else "validation")
    kind = "deployed" if plan.what == "speed" else plan.what
    lengths = {run.task.name: split.lengths}
    found = workloads_of(
        plan, kind, lengths, lambda _, rows: [itself(split.batch(r)) for r in rows]
    )
    if plan.what == "speed":
        name, field = kind, deployed(encoder, plan, exports)
        name += "" if plan.budget is None else f"-{plan.budget}"
        nearest = (near(split, run.task.name, n, plan.examples or SINGLES) for n in plan.near or ())
        found = chain(filter(None, nearest), found)
    else:
        name, field = field_of(plan, encoder)
    weights = f"{run.folder.parent.name}/{run.name}"
    return Race(name, weights, "dev examples", field, found, plan.repeats or KINDS[kind][1])


def deployed(encoder: AdaptiveEncoder, plan: BenchSettings, exports: Path) -> Field:
    """A trained run against Hugging Face's model and the static exports of the same weights, in
    fp32, int8 and the plan's dtype where an engine has it; in PyTorch fp32 and the plan's."""
    dtypes = [*dict.fromkeys(("fp32", plan.dtype))]
    field, against = of_run(encoder, dtypes), "{engine} static {dtype}"
    made = [*dict.fromkeys((*dtypes, "int8"))]
    for engine, (who, body) in product(SHORT, {"static": bare(encoder), "EAT": encoder}.items()):
        add_exports(field, engine, f"{who} fp32", made, exports, plan.threads, body, against)
    for dtype in dtypes:
        add_openvino(field, f"static {dtype}", encoder, dtype, plan.threads)
    names = {c.name for c in field.candidates}
    field.over = {label: name for label, name in RIVALS.items() if name in names}
    field.over_best_static = True
    return field


def workloads_of(
    plan: BenchSettings, kind: str, lengths: dict[str, np.ndarray], make: Maker
) -> Iterator[Workload]:
    batches = plan.batches or KINDS[kind][0]
    found = workloads(lengths, batches, plan.examples, plan.seed, make)
    if kind == "training":  # batches by length are another treatment than a plain loop's
        return (workload for workload in found if workload.order == "as they come")
    return found
