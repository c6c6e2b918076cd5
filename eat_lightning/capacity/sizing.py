"""From measured times to a number of replicas."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np

from eat_lightning.capacity.check import loaded, request_ms
from eat_lightning.capacity.plan import CapacityPlan
from eat_lightning.capacity.row import CapacityRow, Check, table
from eat_lightning.capacity.service import Service, measured
from eat_lightning.capacity.simulate import Discipline, Outcome, poisson_ms, simulated
from eat_lightning.engines.open import open_backend
from eat_lightning.errors import ConfigError
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.measure.plan import data_faults
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import with_slots
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run, provenance
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.serve.loadtest.rows import measured as of_shots
from eat_lightning.serve.loadtest.traffic import poisson

OFFLINE = 32  # examples of a full batch, for the cost of a corpus
ARMS = ("own", "static")
FIT = 0.25  # of times: where a fit is further off, a simulation of them tells nothing


class Sizing:
    """A plan with what was measured for it."""

    def __init__(self, plan: CapacityPlan):
        self.plan, self.run = plan, Run.open(plan.run)
        busy = [] if plan.force else training_faults("force=true")
        if faults := busy + data_faults(self.run, plan.split, plan.data.model_dump()):
            raise ConfigError.of(faults)
        self.backend = open_backend(plan)
        assert isinstance(self.backend, TorchBackend)
        columns = self.run.data(dir=plan.data.dir).source(plan.split).texts
        texts = [list(each) for each in zip(*columns, strict=True)]
        rng = np.random.default_rng(plan.seed)
        chosen = rng.permutation(len(texts))[: plan.examples]
        self.texts = [texts[i] for i in chosen]

    @property
    def requests(self) -> list[dict[str, str]]:
        names = self.run.task.columns
        return [dict(zip(names, text, strict=True)) for text in self.texts]

    @cached_property
    def services(self) -> dict[str, Service]:
        """Both arms, measured by turns: in batches up to the gateway's, and up to full ones."""
        assert isinstance(self.backend, TorchBackend)
        bare = with_slots(self.backend.encoder, exit=Never(), policies=())
        static = replace(self.backend, by_source={None: bare})
        most = max(OFFLINE, self.plan.examples_at_once)
        sizes = [1, *(size for size in (1, 2, 4, 8, 16) if size < most), most]
        sizes = sizes if self.plan.examples_at_once > 1 else [1, 1, 1, most]
        backends = {"own": self.backend, "static": static}
        return measured(backends, self.texts, sizes, self.plan.measured, self.plan.seed)

    @cached_property
    def overhead_ms(self) -> float:
        """Time of a request beside the model: what a busy gateway takes, less what the model
        does."""
        if self.plan.overhead_ms is not None:
            return self.plan.overhead_ms
        of_model = self.services["own"].mean_ms(self.plan.examples_at_once, self.plan.seed)
        return max(0.0, request_ms(self.plan, self.requests) - of_model)

    def outcome(
        self,
        arm: str,
        replicas: int,
        arrivals_ms: np.ndarray,
        beside_ms: float = 0.0,
        examples: np.ndarray | None = None,
    ) -> Outcome:
        """beside_ms: that a request takes on a replica's core besides. examples: which of them
        arrive; None: random ones."""
        plan = self.plan
        given = Discipline(
            plan.examples_at_once,
            plan.wait_ms,
            plan.queue,
            plan.deadline_ms,
            self.overhead_ms + beside_ms,
            plan.balance,
        )
        return simulated(self.services[arm], arrivals_ms, replicas, given, plan.seed, examples)

    def arrivals_ms(self, rate: float) -> np.ndarray:
        return poisson_ms(rate, self.plan.arrivals, np.random.default_rng(self.plan.seed))

    def needed(self, arm: str) -> tuple[int, Outcome] | None:
        """The smallest number of replicas with which 99 of 100 are answered in time; None where
        `most` are not enough. Found between doublings: more replicas are never slower."""
        most, (rate, p99_ms) = self.plan.most, self.plan.asked
        of = cache(partial(self.outcome, arm, arrivals_ms=self.arrivals_ms(rate)))

        def enough(replicas: int) -> bool:
            return of(replicas).percentile(99) <= p99_ms

        # With so few they would be busy all the time, and fall behind.
        low = max(0, math.ceil(rate * self.request_s(arm)) - 1)
        high = low + 1
        while high <= most and not enough(high):
            low, high = high, min(2 * high, max(most, high + 1))
        if high > most:
            return None
        between = range(low + 1, high)
        replicas = low + 1 + bisect_left(between, True, key=enough)
        return replicas, of(replicas)

    def request_s(self, arm: str) -> float:
        """A request on a busy replica, in seconds."""
        model_ms = self.services[arm].mean_ms(self.plan.examples_at_once, self.plan.seed)
        return (self.overhead_ms + model_ms) / 1000

    def busy_rps(self, arm: str, count: int, beside_ms: float) -> float:
        """Answers a second of replicas that are kept busy."""
        request_s = self.request_s(arm) + beside_ms / 1000
        far_more = 2 * count / request_s
        outcome = self.outcome(arm, count, self.arrivals_ms(far_more), beside_ms)
        return outcome.busy * count / request_s

    def checks(self, arm: str) -> Iterator[Check]:
        """Predicted beside measured, at a share of what so many replicas are predicted to take, for
        the very requests that were sent. Where whoever asks shares a core with a replica, what a
        request took it with a core of its own is time of the replicas'."""
        busy_ms = open_ms = 0.0
        for count in self.plan.check:
            shared = count >= len(os.sched_getaffinity(0))
            rps = self.busy_rps(arm, count, busy_ms if shared else 0.0)
            offered = self.plan.level * rps
            due_s = poisson(offered, self.plan.seconds, self.plan.seed)
            rng = np.random.default_rng(self.plan.seed)
            chosen = rng.integers(len(self.texts), size=len(due_s))
            found = loaded(self.plan, self.requests, count, due_s, chosen, arm == "static")
            try:
                seen = of_shots(found.shots, self.plan.seconds)
            except ValueError as error:
                raise ConfigError(f"check={count}: {error}") from None
            beside_ms = open_ms if shared else 0.0
            predicted = self.outcome(arm, count, 1000 * due_s, beside_ms, chosen)
            p50, p99 = predicted.percentile(50), predicted.percentile(99)
            yield Check(count, offered, found.rps, rps, seen["p50_ms"], p50, seen["p99_ms"], p99)
            if not shared:
                busy_ms, open_ms = found.busy_ms, found.open_ms

    def row(self, arm: str) -> CapacityRow:
        plan, service = self.plan, self.services[arm]
        rate, p99_ms = plan.asked
        replicas, outcome = self.needed(arm) or (None, None)
        full = max(OFFLINE, plan.examples_at_once)
        return CapacityRow(
            run=self.run.name,
            exits=arm,
            gateway=" ".join(plan.gateway(arm == "static")),
            mode=plan.mode,
            batch=plan.examples_at_once,
            wait_ms=plan.wait_ms,
            rate=rate,
            p99_ms=p99_ms,
            replicas=replicas,
            p50_found_ms=outcome and outcome.percentile(50),
            p99_found_ms=outcome and outcome.percentile(99),
            busy=outcome and outcome.busy,
            mean_depth=service.mean_depth,
            alone_ms=self.overhead_ms + service.mean_ms(1, plan.seed),
            batch_ms=service.mean_ms(full, plan.seed),
            batch_size=full,
            overhead_ms=self.overhead_ms,
            service_error=service.error,
            checks=[*self.checks(arm)],
            **provenance(),
        )


def sized(plan: CapacityPlan) -> list[CapacityRow]:
    """A row for the run's exits and one for static full depth; they are printed and written.
    ConfigError, after that, where the times that they rest on are not usable."""
    sizing = Sizing(plan)
    rows = [sizing.row(arm) for arm in ARMS]
    if not plan.force and training_faults("force=true"):
        raise ConfigError("training began meanwhile: the times are not kept")
    jsonl.update(path := Path(plan.to) / "rows.jsonl", CapacityRow, rows)
    print("\n".join([*heading(plan, rows), table(rows, plan.most, plan.core_hour)]))
    for row in rows:
        for check in row.checks:
            print(f"{'adaptive' if row.exits == 'own' else 'static'}, {check}")
    print(f"written: {path}")
    if faults := [f"these times are not usable: {why}" for why in unusable(plan, rows)]:
        raise ConfigError.of(faults)
    return rows


def unusable(plan: CapacityPlan, rows: Sequence[CapacityRow]) -> Iterator[str]:
    """Why no number of replicas can be read off what was measured, and what to do."""
    busy = "something else ran: measure on a quiet machine"
    worst = max(row.service_error for row in rows)
    if worst > FIT:
        off = f"off by {100 * worst:.0f} %, more than {100 * FIT:.0f} %"
        yield f"batches left out of the fit were {off}, so {busy}, or time more (measured=...)"
    if plan.overhead_ms is None and rows[0].overhead_ms == 0:
        fault = "a gateway took no longer for a request than its model alone"
        yield f"{fault}, so {busy}, or give overhead_ms=..."


def heading(plan: CapacityPlan, rows: Sequence[CapacityRow]) -> list[str]:
    errors = ", ".join(f"{100 * row.service_error:.1f} %" for row in rows)
    said = f"{plan.rate:g} requests a second, p99 within {plan.p99_ms:g} ms, {plan.mode}"
    return [
        f"{said}, {plan.examples_at_once} at once; a replica is one core",
        f"times of batches that were left out of the fit: off by {errors}; a request takes "
        f"{rows[0].overhead_ms:.2f} ms beside the model",
    ]
