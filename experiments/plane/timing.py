"""Milliseconds of the plane's systems, all by turns: batch 1 and batches of 32.

    python -m experiments.plane.timing runs='{A: FOLDER, B: FOLDER}' [budgets=[0.3,0.5]]
        [ms=[40]] [cascades=false] [examples=320] [records=outputs/plane] [to=FOLDER]

Runs of one task, the dearest last. Milliseconds are asked of a run's own dial, which is fitted to
times of this machine. Examples are drawn so that the counted cost of every system is
near that of dev: of many random draws the one with the least largest difference. A speed-up is over
the last model's static twin; its interval is of examples (in batches: of whole batches) drawn anew.
Nothing else may run meanwhile.

Shapes: B examples, R repeats, I inputs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.data.split import Split
from eat_lightning.errors import ConfigError, reported
from eat_lightning.infer.precision import form_of, in_form
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace
from eat_lightning.record.timing import (
    TimedCall,
    Turns,
    drawn_at_mean_cost,
    keep_kernels,
    speed_up,
    undisturbed,
)
from eat_lightning.report.intervals import paired_difference
from eat_lightning.runs import jsonl
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import processor, provenance
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.weights.dial import Budget
from experiments.plane.models import RunModel, open_model
from experiments.plane.rows import TimedRow, times_path
from experiments.plane.systems import Chain, Joined, Part
from experiments.study import given_of

KEYS = ("runs", "budgets", "ms", "cascades", "examples", "records", "to", "force")
BUDGETS, REPEATS, BATCH, WARM_UP = (0.06, 0.13, 0.21, 0.3, 0.38, 0.5, 0.6), 3, 32, 20


@dataclass(frozen=True)
class Timed:
    """A system at one operating point.

    Args:
        parts: by their models' names, encoders with their exit rules at it.
        least: confidence of the first model's end at which it answers.
        cost_B: FLOPs of dev.
        right_B: on dev.
        splits: of the timed examples, by model.
    """

    system: str
    kind: str
    asked: float | None
    parts: Mapping[str, AdaptiveEncoder]
    least: float
    cost_B: np.ndarray
    right_B: np.ndarray
    splits: dict[str, Split]
    asked_ms: float | None = None

    @property
    def candidate(self) -> TimedCall:
        return TimedCall(self.run, self.splits[next(iter(self.parts))])

    def run(self, batch: Batch) -> Trace:
        """Answer a batch; the second model gets those that ran all of the first and are unsure."""
        (_, first), *rest = self.parts.items()
        trace = first(batch)
        for name, second in rest:
            unsure_B = trace.logits_BC.softmax(-1).amax(-1) < self.least
            asked_B = unsure_B & (trace.depth_B == first.shape.num_layers)
            if asked_B.any() and batch.index_B is not None:
                second(self.splits[name].batch(batch.index_B[asked_B].numpy()))
        return trace


@dataclass(frozen=True)
class Wanted:
    """Operating points to be timed.

    Args:
        budgets: shares of the last static model's FLOPs.
        ms: milliseconds of an example at batch 1.
        cascades: two models in a row are timed too.
    """

    budgets: Sequence[float] = BUDGETS
    ms: Sequence[float] = ()
    cascades: bool = True


def timed_systems(
    models: Sequence[RunModel], wanted: Wanted, splits: dict[str, Split]
) -> Iterator[Timed]:
    """The static models, exits, and cascades into the last model by confidence and with exits."""
    last, form = models[-1], form_of(None, "fp32", "cpu")
    full_cost = float(last.fixed_cost(last.cut, last.last).mean())
    with undisturbed(1):
        encoders = {model.name: in_form(model.encoder, form) for model in models}
    chains: list[tuple[str, list[Part]]] = []
    for model in models:
        static = {model.name: encoders[model.name].replacing(exit=Never())}
        cost_B = model.fixed_cost(model.dev, model.last)
        right_B = model.dev.guesses[model.last].argmax(1) == model.dev.labels
        yield Timed(model.name, "static", None, static, 0.0, cost_B, right_B, splits)
        if len(model.layers) > 1:
            chains.append(("exits", [Part.whole(model)]))
            yield from by_the_clock(model, encoders[model.name], form, wanted.ms, splits)
        if model is not last and wanted.cascades:
            chains.append(("cascade by confidence", [Part.end(model), Part.end(last)]))
            into = "exits of both" if len(model.layers) > 1 else "cascade into exits"
            chains.append((into, [Part.whole(model), Part.whole(last)]))
    for kind, parts in chains:
        dial, dev = Chain(parts, full_cost).dial, Joined.of(parts, "dev")
        name = " > ".join(part.model.name for part in parts)
        for budget in wanted.budgets:
            if dial.points[-1].cost <= budget < dial.points[0].cost:
                point = dial.at(Budget(budget))
                rules, least = rules_at(parts, point.exit)
                at = {k: encoders[k].replacing(exit=rule) for k, rule in rules.items()}
                judged = dev.at(point, "", budget)
                right_B = judged.answer_B == last.dev.labels
                yield Timed(name, kind, budget, at, least, judged.cost_B, right_B, splits)


def by_the_clock(
    model: RunModel,
    encoder: AdaptiveEncoder,
    form: str,
    asked: Sequence[float],
    splits: dict[str, Split],
) -> Iterator[Timed]:
    """Exits of a model where its dial is asked for milliseconds."""
    fitter = Fitter(model.opened, encoder, fit_reduction=False, form=form, threads=1)
    for ms in asked:
        try:
            at = fitter.on(Budget(ms, "ms"))
        except ConfigError as error:
            print(f"left out: {error}")
            continue
        outcome = model.dev.replay(at.exit)
        right_B = outcome.logits_BC.argmax(1) == model.dev.labels
        lengths_B, tokens_LB = model.dev.lengths, model.dev.tokens_LB
        cost_B = flops(model.encoder, at.exit, tokens_LB, outcome.depth_B, lengths_B)
        parts = {model.name: at}
        yield Timed(model.name, "exits", None, parts, 0.0, cost_B, right_B, splits, asked_ms=ms)


def rules_at(parts: Sequence[Part], taus: Any) -> tuple[dict[str, ExitRule], float]:
    """The exit rule of each model at a point of parts in a row, and the confidence at which the end
    of the first answers."""
    rules: dict[str, ExitRule] = {}
    ends, at = [], 0
    for part in parts:
        early = [layer for layer in part.layers if layer < part.model.last]
        here, at = list(taus[at : at + len(early)]), at + len(part.layers)
        rules[part.model.name] = Confidence(here, early) if early else Never()
        ends.append(at - 1)
    least = taus[ends[0]] if len(parts) > 1 else 0.0
    return rules, np.inf if least == 1 else least


def rounded_speed_up(static_RI: np.ndarray, took_RI: np.ndarray) -> list[float]:
    return [round(x, 3) for x in speed_up(static_RI, took_RI)]


def above(system: Timed, static: Timed) -> list[float]:
    """Points by which a system is more accurate on dev, with the paired 95 % interval's ends."""
    found = paired_difference(system.right_B, static.right_B).times(100)
    return [round(x, 2) for x in (found.value, found.low, found.high)]


def timed_rows(models: Sequence[RunModel], wanted: Wanted, examples: int) -> list[TimedRow]:
    """Time all systems by turns."""
    keep_kernels()
    splits: dict[str, Split] = {}
    systems = [*timed_systems(models, wanted, splits)]
    costs = [system.cost_B for system in systems]
    rows_B = drawn_at_mean_cost(costs, len(costs[0]), examples)
    for model in models:
        splits[model.name] = model.opened.data().split("validation").take(rows_B)
    candidates = {i: system.candidate for i, system in enumerate(systems)}
    order = np.arange(len(rows_B))
    turns = [Turns(candidates, dict.fromkeys(candidates, order), size) for size in (1, BATCH)]
    for each, warm_up in zip(turns, (WARM_UP, 1), strict=True):
        with undisturbed(1):
            each.warm_up(warm_up)
            for repeat in range(REPEATS):
                each.take(f"{len(systems)} systems, {repeat + 1} of {REPEATS}")
    last = next(
        i for i, s in enumerate(systems) if (s.system, s.kind) == (models[-1].name, "static")
    )
    single, batched = (each.took for each in turns)
    return [
        TimedRow(
            system=system.system,
            kind=system.kind,
            asked=system.asked,
            latency_ms=round(float(single[i].mean()), 4),
            batch_ms=round(float(batched[i].sum() / REPEATS / len(rows_B)), 4),
            speed_up=rounded_speed_up(single[last], single[i]),
            batch_speed_up=rounded_speed_up(batched[last], batched[i]),
            drawn_cost=round(float(system.cost_B[rows_B].mean() / system.cost_B.mean()), 4),
            examples=len(rows_B),
            data=models[-1].data,
            machine=processor(),
            commit=provenance()["commit"],
            asked_ms=system.asked_ms,
            accuracy=round(100 * float(system.right_B.mean()), 3),
            above={s.system: above(system, s) for s in systems if s.kind == "static"},
        )
        for i, system in enumerate(systems)
    ]


def main(arguments: Sequence[str]) -> None:
    given = given_of(arguments, KEYS)
    if faults := [] if given.get("force") else training_faults("force=true"):
        raise ConfigError.of(faults)
    records = Path(given.get("records", "outputs/plane"))
    models = [open_model(name, path, records) for name, path in given.get("runs", {}).items()]
    if len({model.task for model in models}) != 1:
        raise ConfigError(
            "runs must name finished runs of one task: {NAME: FOLDER}, the dearest last"
        )
    wanted = Wanted(**{key: given[key] for key in ("budgets", "ms", "cascades") if key in given})
    for name in ("budgets", "ms"):
        if not isinstance(amounts := getattr(wanted, name), (list, tuple)):
            raise ConfigError(f"{name} must be a list such as [0.3,0.5], got {amounts}")
    rows = timed_rows(models, wanted, int(given.get("examples", 320)))
    to = Path(given.get("to", Path(__file__).parent / "results"))
    path = times_path(to, models[0].task)
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(path, rows)
    print(*rows, sep="\n")


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
