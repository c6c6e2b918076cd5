"""Make the rows of this study, in the folder `to` (outputs/speed).

    python -m experiments.speed.run random body=bert_base dtype=bf16 engines=true
    python -m experiments.speed.run random body=modernbert_base tasks=[sst2,mnli] long=2048
    python -m experiments.speed.run trained run=RUN budget=0.5 dtypes=[fp32,int8]
    python -m experiments.speed.run growth attentions=[bigbird,linformer]
    python -m experiments.speed.run dtypes study=outputs/frontier

`random` races random weights of a released backbone's size, and `trained` a finished run on dev
examples: Hugging Face's model of the same weights, our static encoder, EAT, and engines. `dtypes`
compares bf16 and int8 with fp32 on measured runs. Nothing is timed beside a training. The kept rows
are those of to=experiments/speed/results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field as Default

from eat_lightning.bundle.open_run import fitter_of
from eat_lightning.config import RunFolder, Settings, parsed
from eat_lightning.errors import ConfigError, reported
from eat_lightning.process import keep_freed_memory
from eat_lightning.record.timing import keep_kernels, undisturbed
from eat_lightning.report import result
from eat_lightning.report.result import Result
from eat_lightning.report.study import open_study
from eat_lightning.runs.exit_choice import ExitChoice
from eat_lightning.runs.run import Run, provenance
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.validation import Count
from experiments.study import given_of

from .candidates import Examples, Field, add_engines, of_weights, random_encoder, shape_of
from .dtypes import dtype_results
from .growth import GrowthSettings, axes, measured
from .race import Workload, ceilings, raced, random_words, words, workloads

Dtype = Literal["fp32", "bf16", "int8"]


class RaceSettings(Settings):
    """What every race has. force: although something trains."""

    batches: list[Count] = Default([1, 32])
    repeats: Count = 3
    threads: Count = 1
    seed: int = 0
    force: bool = False
    to: str = "outputs/speed"


class RandomSettings(RaceSettings):
    """Settings of `random`. leaving: the share of examples that leave EAT after two thirds of its
    layers; ratio: the share of tokens that it drops twice; long: also texts of so many tokens."""

    body: str = "bert_base"
    dtype: Literal["fp32", "bf16"] = "fp32"
    tasks: list[str] = Default(["sst2"])
    leaving: float = 0.6
    ratio: float = 0.3
    long: Count | None = None
    engines: bool = False


class TrainedSettings(RaceSettings):
    """Settings of `trained`. budget: exits fitted for it, such as 0.5 of the FLOPs; None: the run's
    own. dtypes: in PyTorch; engines run fp32 and int8 too."""

    run: RunFolder
    data: str | None = None
    budget: float | str | None = None
    dtypes: list[Dtype] = Default(["fp32", "int8"])
    repeats: Count = 5


def random(plan: RandomSettings, folder: Path) -> list[Result]:
    shape = shape_of(plan.body)
    encoder = random_encoder(shape, plan.ratio, plan.seed)
    field = of_weights(encoder, [plan.dtype])
    if plan.engines:
        add_engines(field, encoder, [plan.dtype], folder, adaptive=False)
    made = [(task, *random_words(task, plan.leaving, shape, plan.seed)) for task in plan.tasks]
    found = chain.from_iterable(
        workloads(task, lengths_B, plan.batches, make, plan.seed) for task, lengths_B, make in made
    )
    if plan.long:
        each = [words(np.array([plan.long]), np.array([easy]), shape) for easy in (True, False)]
        found = chain(found, [Workload("random words", 1, f"{plan.long:,} tokens", each)])
    return results_of("random", plan.body, field, found, plan)


def trained(plan: TrainedSettings, folder: Path) -> list[Result]:
    run = Run.open(plan.run)
    encoder, _ = run.model()
    if plan.budget is not None:
        choice = ExitChoice.of({"budget": plan.budget}, run.model_config()["exit"])
        encoder = fitter_of(run, encoder, choice, dir=plan.data).on(choice.budget)
    field = of_weights(encoder, plan.dtypes)
    add_engines(field, encoder, [*dict.fromkeys((*plan.dtypes, "int8"))], folder, adaptive=True)
    return results_of("trained", run.name, field, of_run(run, plan), plan)


def of_run(run: Run, plan: TrainedSettings) -> Iterator[Workload]:
    """The run's dev examples, whose exits say who leaves."""
    split = run.data(dir=plan.data).split("validation")

    def make(rows: list[np.ndarray]) -> list[Examples]:
        batches = [split.batch(chosen) for chosen in rows]
        return [Examples(batch, torch.zeros(batch.size, dtype=torch.bool)) for batch in batches]

    return workloads(run.task.name, split.lengths, plan.batches, make, plan.seed)


def results_of(
    race: str, model: str, field: Field, found: Iterator[Workload], plan: RaceSettings
) -> list[Result]:
    """Race on one workload after the other; each one's results are written at once."""
    print(*field.missing, sep="\n", flush=True)
    made, shape = [], field.candidates[0].encoder.shape
    with undisturbed(plan.threads):
        bounds = {c.dtype: ceilings(shape, c.dtype) for c in field.candidates}
        for workload in found:
            values = raced(field, workload, plan.repeats, bounds)
            where = {"num_layers": shape.num_layers, "threads": plan.threads}
            where |= {"num_examples": workload.num_examples, "repeats": plan.repeats}
            what = {"race": race, "model": model, "task": workload.task}
            what |= {"batch": workload.batch, "order": workload.order}
            fresh = [
                Result(
                    what | {"candidate": c.name},
                    values[c.name],
                    where | {"dtype": c.dtype} | provenance(),
                )
                for c in field.candidates
            ]
            refuse_if_busy(plan)
            result.update(Path(plan.to, "times.jsonl"), fresh)
            made += fresh
            for r in fresh:
                print(f"{workload.task}, {workload.order}, {r['candidate']}: {r['ms'].text()} ms")
    return made


def growth(plan: GrowthSettings, folder: Path) -> list[Result]:
    found = []
    with undisturbed(plan.threads):
        for points in axes(plan):
            found += measured(points, plan)
            print(f"{points[0].axis}: {len(points)} points", flush=True)
    refuse_if_busy(plan)
    result.update(Path(plan.to, "growth.jsonl"), found)
    return found


def dtypes(words: Sequence[str]) -> None:
    """Compare the rows of a study's runs in other dtypes with those in fp32."""
    given = given_of(words, ("to",), needs=("study",))
    found = dtype_results(open_study([given["study"]]))
    result.update(Path(given.get("to", "outputs/speed"), "agreement.jsonl"), found)
    print(*(f"{r.what} {r.values}" for r in found), sep="\n")


def refuse_if_busy(plan: Any) -> None:
    if not plan.force and (faults := training_faults("force=true")):
        raise ConfigError.of(faults)


STEPS: dict[str, tuple[Any, Any]] = {
    "random": (random, RandomSettings),
    "trained": (trained, TrainedSettings),
    "growth": (growth, GrowthSettings),
}


def main(words: Sequence[str]) -> None:
    step, *given = words or [""]
    if step == "dtypes":
        return dtypes(given)
    if step not in STEPS:
        raise ConfigError(f"a step must be one of {', '.join(STEPS)}, dtypes, got {step!r}")
    run, kind = STEPS[step]
    plan = parsed(kind, given_of(given, [*kind.model_fields]))
    refuse_if_busy(plan)
    keep_kernels()
    keep_freed_memory()
    torch.set_num_threads(plan.threads)
    with TemporaryDirectory() as folder:
        run(plan, Path(folder))


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
