"""Milliseconds of exits, students and cascades by turns: the step `times` of `run.py`.

Batch 1 and batches of 32, in fp32 with prepacked weights on one thread. Examples are drawn so that
the counted cost of every system is near that of dev. A speed-up is over the last model with every
layer; its interval is of examples (in batches: of whole batches) drawn anew.

Shapes: B examples, R repeats, I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eat_lightning.data.split import Split
from eat_lightning.errors import ConfigError
from eat_lightning.machine import processor
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace
from eat_lightning.record.dial import Budget
from eat_lightning.record.timing import (
    TimedCall,
    Turns,
    drawn_at_mean_cost,
    keep_kernels,
    speed_up,
    undisturbed,
)
from eat_lightning.report.intervals import Interval, paired_difference
from eat_lightning.report.result import Result
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import provenance
from eat_lightning.weights.precision import form_of, in_form

from .models import Model
from .plane import mean_cost, rounded
from .systems import Chain, Joined, Part, chains

BUDGETS, REPEATS, BATCH, WARM_UP = (0.06, 0.13, 0.21, 0.3, 0.38, 0.5, 0.6), 3, 32, 20


@dataclass(frozen=True)
class Wanted:
    """Operating points to be timed.

    Args:
        budgets: shares of the last model's FLOPs.
        ms: milliseconds of an example at batch 1, asked of a run's own dial, which is fitted to
            times of this machine.
        cascades: two models in a row are timed too.
        examples: to be timed.
    """

    budgets: Sequence[float] = BUDGETS
    ms: Sequence[float] = ()
    cascades: bool = True
    examples: int = 320


@dataclass(frozen=True)
class Timed:
    """A system at one operating point.

    Args:
        parts: by their models' names, encoders with their exit rules at it.
        cost_B: FLOPs of dev.
        right_B: on dev.
        splits: of the timed examples, by model.
        least: confidence of the first model's end at which it answers.
    """

    name: str
    kind: str
    setting: str
    parts: Mapping[str, AdaptiveEncoder]
    cost_B: np.ndarray
    right_B: np.ndarray
    splits: dict[str, Split]
    least: float = 0.0

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


@dataclass
class Clock:
    """Models of one task, the dearest last, and the examples that are timed."""

    models: Sequence[Model]
    wanted: Wanted

    def __post_init__(self) -> None:
        self.form = form_of(None, "fp32", "cpu")
        self.splits: dict[str, Split] = {}
        with undisturbed(1):
            self.encoders = {m.name: in_form(m.encoder, self.form) for m in self.models}

    def systems(self) -> Iterator[Timed]:
        """The models with every layer, with exits, and cascades into the last one."""
        last, full_cost = self.models[-1], mean_cost(self.models[-1])
        for model in self.models:
            yield self.static(model)
            if len(model.layers) > 1:
                yield from self.by_milliseconds(model)
                yield from self.by_cost(Chain("exits", [Part.whole(model)], full_cost))
            if model is not last and self.wanted.cascades:
                for chain in chains(model, last, full_cost):
                    yield from self.by_cost(chain)

    def static(self, model: Model) -> Timed:
        parts = {model.name: self.encoders[model.name].replacing(exit=Never())}
        right_B = model.full_answers(model.dev) == model.dev.labels
        cost_B = model.full_cost(model.dev)
        return Timed(model.name, "static", "every layer", parts, cost_B, right_B, self.splits)

    def by_milliseconds(self, model: Model) -> Iterator[Timed]:
        """Exits where the run's own dial is asked for milliseconds; too few are left out."""
        encoder, dev = self.encoders[model.name], model.dev
        fitter = Fitter(model.run, encoder, fit_reduction=False, form=self.form, threads=1)
        for ms in self.wanted.ms:
            try:
                at = fitter.on(Budget(ms, "ms"))
            except ConfigError as error:
                print(f"left out: {error}")
                continue
            trace = dev.replay(at.exit)
            right_B = trace.logits_BC.argmax(1) == dev.labels
            cost_B = flops(model.encoder, at.exit, dev.tokens_LB, trace.depth_B, dev.lengths)
            about = f"{ms:g} ms", {model.name: at}, cost_B, right_B
            yield Timed(model.name, "exits", *about, self.splits)

    def by_cost(self, chain: Chain) -> Iterator[Timed]:
        """Parts in a row at the costs that their dial has."""
        dev = Joined.of(chain.parts, "dev")
        for budget, point in chain.points(self.wanted.budgets).items():
            rules, least = rules_at(chain.parts, point.point.methods["exit"].arguments["tau"])
            at = {k: self.encoders[k].replacing(exit=rule) for k, rule in rules.items()}
            judged = dev.at(point, f"cost {budget:g}")
            right_B = judged.answer_B == dev.record.labels
            about = judged.setting, at, judged.cost_B, right_B
            yield Timed(chain.name, chain.kind, *about, self.splits, least)

    def draw(self, systems: Sequence[Timed]) -> np.ndarray:
        """Choose the examples, whose mean costs are near those of dev."""
        costs = [system.cost_B for system in systems]
        rows_B = drawn_at_mean_cost(costs, len(costs[0]), self.wanted.examples)
        for model in self.models:
            self.splits[model.name] = model.run.data().split("validation").take(rows_B)
        return rows_B


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


def timed(models: Sequence[Model], wanted: Wanted) -> Iterator[Result]:
    """Time all systems by turns, and say how accurate each is on dev."""
    keep_kernels()
    clock = Clock(models, wanted)
    systems = [*clock.systems()]
    rows_B = clock.draw(systems)
    single, batched = (took(systems, size, len(rows_B)) for size in (1, BATCH))
    statics = {s.name: i for i, s in enumerate(systems) if s.kind == "static"}
    last, among = statics[models[-1].name], "cascades" if wanted.cascades else "students"
    where = {"machine": processor(), "threads": 1, "dtype": "fp32", "form": clock.form}
    where |= {"examples": len(rows_B), "data": models[-1].data, "commit": provenance()["commit"]}
    for i, system in enumerate(systems):
        what = {"task": models[-1].task, "layers": models[-1].last, "seed": models[-1].seed}
        what |= {"among": among, "system": system.name, "kind": system.kind}
        values = {
            "accuracy": round(100 * float(system.right_B.mean()), 3),
            "latency_ms": round(float(single[i].mean()), 4),
            "batch_ms": round(float(batched[i].sum() / REPEATS / len(rows_B)), 4),
            "speed_up": rounded(Interval(*speed_up(single[last], single[i])), 3),
            "batch_speed_up": rounded(Interval(*speed_up(batched[last], batched[i])), 3),
            "drawn_cost": round(float(system.cost_B[rows_B].mean() / system.cost_B.mean()), 4),
        }
        for name, at in statics.items():
            more = paired_difference(system.right_B, systems[at].right_B).times(100)
            values[f"over {name}"] = rounded(more, 2)
        yield Result({**what, "setting": system.setting}, values, where)


def took(systems: Sequence[Timed], size: int, examples: int) -> Mapping[int, np.ndarray]:
    """Milliseconds (R x I) of each system, in batches of `size`."""
    candidates = {i: system.candidate for i, system in enumerate(systems)}
    turns = Turns(candidates, dict.fromkeys(candidates, np.arange(examples)), size)
    with undisturbed(1):
        turns.warm_up(WARM_UP if size == 1 else 1)
        for repeat in range(REPEATS):
            turns.take(f"{len(systems)} systems, {repeat + 1} of {REPEATS}")
    return turns.took
