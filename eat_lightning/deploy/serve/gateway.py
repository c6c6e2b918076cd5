"""The gateway's state, independent of HTTP: accepted requests, waiting examples, and the model."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from asyncio import FIRST_COMPLETED
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.metrics import Metrics
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import Remote
from eat_lightning.deploy.serve.worker import Answer, Ask, Queue, QueueFull, Refused, Worker
from eat_lightning.errors import ConfigError
from eat_lightning.monitor.decisions import TEXTS, DecisionLog
from eat_lightning.monitor.monitor import ALARM, DriftEvent
from eat_lightning.monitor.watch import DriftWatch

WATCH_S = 0.5  # between two looks
START_S = 2  # for a worker that is being started: when to come again
HUNG_UP = 499
OpenModel = Callable[[ServeSettings], Remote]


class Gateway:
    """Queue, worker and metrics of a model.

    Args:
        open_model: opens a model by a plan; called again for each reload.

    Raises:
        ConfigError: before the model is loaded, where the log cannot be used. It may be shared with
            other gateways.
    """

    def __init__(self, plan: ServeSettings, open_model: OpenModel):
        self.log = DecisionLog(plan.log, plan.log_text) if plan.log else None
        model = open_model(plan)
        self.plan, self.about, self.open_model = plan, model.about, open_model
        self.events: deque[dict[str, Any]] = deque(maxlen=20)  # of drift
        self.reloading = asyncio.Lock()
        self.stopping = self.log_failed = False
        self.metrics = Metrics(self.about.num_layers)
        self.drift = DriftWatch(self.about.normal, plan.drift.monitors, plan.drift.state)
        self.queue = Queue(plan.queue, plan.examples_at_once, plan.wait_ms / 1000)
        self.worker = Worker(
            model,
            self.queue,
            plan,
            finished=self.finished,
            revive=lambda: self.open_model(self.plan),
            deep=lambda: self.drift.deep and self.plan.drift.fallback,
            batched=self.metrics.te.batched,
            died=self.metrics.deaths.inc,
        )

    def start(self) -> None:
        """Start in the event loop."""
        self.worker.start()
        self.watching = asyncio.ensure_future(self.watch())

    async def watch(self) -> None:
        """Replace a dead worker before the next request needs it."""
        while True:
            await asyncio.sleep(WATCH_S)
            await self.worker.check()
            self.drift.keep()

    @property
    def state(self) -> str:
        if self.stopping:
            return "stopping"
        return "up" if self.worker.is_up else "starting a worker"

    def accept(self, examples: list[RequestExample], deadline_ms: float) -> list[Ask]:
        """Queue all examples.

        Raises:
            Refused: 503 without room for all, with the time for a retry.
        """
        deadline = time.monotonic() + deadline_ms / 1000
        asks = [Ask(example, deadline) for example in examples]
        if not self.queue.put(asks):
            seconds = math.ceil(len(self.queue) * self.worker.seconds_each)
            raise QueueFull(f"the queue is full ({self.queue.bound} examples)", max(1, seconds))
        return asks

    async def answers(self, asks: list[Ask]) -> AsyncGenerator[tuple[int, Answer | Refused], None]:
        """Yield positions and answers as they arrive, and refusals for examples left at the
        deadline. If the caller stops iterating, the rest is removed from the queue.
        """

        waiting = dict(enumerate(asks))
        status = HUNG_UP  # unless a refusal ended the request
        try:
            while waiting:
                futures = [ask.future for ask in waiting.values()]
                left_s = max(0.0, asks[0].deadline - time.monotonic())  # all have the same
                done, _ = await asyncio.wait(futures, timeout=left_s, return_when=FIRST_COMPLETED)
                for place, ask in [*waiting.items()]:
                    if done and ask.future not in done:
                        continue
                    answer = ask.future.result() if done else self.too_late(ask)
                    status = answer.status_code if isinstance(answer, Refused) else status
                    del waiting[place]
                    yield place, answer
        finally:
            self.metrics.gave_up(status, sum(ask.future.cancel() for ask in asks))
            if any(ask.begun is None for ask in asks):
                self.queue.drop_done()

    def too_late(self, ask: Ask) -> Answer | Refused:
        """Refuse an example whose deadline has passed: with 503 if it waited for a worker to start,
        else with 504. An answer that has just arrived is returned instead.
        """
        if not ask.future.cancel():  # answered at that very moment
            return ask.future.result()
        refused = Refused(504, "the deadline passed")
        if not self.worker.is_up and ask.begun is None:
            refused = Refused(503, "the deadline passed while a worker is started", START_S)
        self.metrics.gave_up(refused.status_code)
        return refused

    def finished(self, pairs: Sequence[tuple[Ask, Answer | Refused]]) -> None:
        """Count, log and monitor a worker's answers."""
        answered = []
        for ask, answer in pairs:
            if not isinstance(answer, Refused):
                ask.scores = answer.pop("scores")
                answered.append((ask.example, answer, answer.pop("seen", None)))
            self.metrics.finished(ask, answer)
        self.write_log([decision_line(*each) for each in answered])
        for event in self.drift.observe(seen for _, _, seen in answered if seen is not None):
            self.drifted(event)

    def write_log(self, lines: list[dict[str, Any]]) -> None:
        """Write to the log. A full disk is reported once and does not affect answers."""
        if self.log is None:
            return
        try:
            self.log.add([line | {"drift": self.drift.state} for line in lines])
        except OSError as error:
            if not self.log_failed:
                print(f"log={self.plan.log}: cannot be written ({error})", file=sys.stderr)
            self.log_failed = True

    def drifted(self, event: DriftEvent) -> None:
        if event.event == ALARM:
            self.metrics.alarms.labels(event.feature).inc()
        event.tell()
        self.events.append(asdict(event) | {"time": time.time()})
        self.write_log([asdict(event)])

    async def reload(self, name: str | None = None) -> str:
        """Replace the model by another run. The old one answers until the new one has passed its
        tests.

        Args:
            name: of a run beside the served one; None: read the same folder again.

        Raises:
            Refused: where it fails; the old model stays in use.
        """
        if self.reloading.locked():
            raise self.refused("another reload is under way", 5)
        async with self.reloading:
            plan = self.plan
            if name is not None:
                plan = plan.model_copy(update={"run": str(Path(plan.run).parent / name)})
            try:
                model = await asyncio.to_thread(self.opened, plan)
            except Exception as error:
                reason = str(error).replace("\n", "; ") or type(error).__name__
                raise self.refused(f"the old run stays in use: {reason}") from None
            await self.worker.swap(model)
            self.plan, self.about = plan, model.about
            self.drift.keep(soon=True)
            self.drift.take(model.about.normal)
            self.metrics.reloads.labels("done").inc()
            print(f"reload: {model.about.name} is now in use", file=sys.stderr, flush=True)
            return model.about.name

    def refused(self, reason: str, retry_after: int | None = None) -> Refused:
        """Count a refused reload, and report it on standard error too."""
        self.metrics.reloads.labels("refused").inc()
        print(f"reload: {reason}", file=sys.stderr, flush=True)
        return Refused(409, reason, retry_after)

    def opened(self, plan: ServeSettings) -> Remote:
        """Open a model that can take over the current one's requests."""
        model = self.open_model(plan)
        if model.about.task != self.about.task:
            model.close()
            raise ConfigError(f"{model.about.name} is of another task ({model.about.task})")
        return model

    def begin_stop(self) -> None:
        self.stopping = True
        self.queue.wait_s = 0  # nobody waits for company any more
        self.queue.changed.set()

    async def stop(self) -> None:
        """Stop after all accepted requests are answered."""
        self.begin_stop()
        self.watching.cancel()
        with suppress(asyncio.CancelledError):
            await self.watching
        await self.worker.stop()
        self.drift.keep(soon=True)
        if self.log is not None:
            self.log.close()

    def live(self) -> dict[str, Any]:
        return self.metrics.snapshot() | {
            "run": self.about.name,
            "mode": self.plan.mode,
            "state": self.state,
            "num_layers": self.about.num_layers,
            "exits": list(self.about.exits),
            "columns": list(self.about.columns),
            "drift": self.drift.state,
            "drift_watchable": self.about.watchable,
            "drift_since": self.drift.began,
            "drift_seen": self.drift.seen,
            "events": list(self.events),
            "queue": len(self.queue),
            "bound": self.queue.bound,
        }


def decision_line(example: RequestExample, answer: Answer, seen: Any) -> dict[str, Any]:
    """Return a line of the decision log.

    Args:
        seen: the drift monitor's observation, where drift is monitored.
    """
    about = {"source": example.source, "mime": example.mime}
    size = {"num_characters": sum(map(len, example.texts))}
    exits = {} if seen is None else {"exits": asdict(seen)}
    return about | size | answer | exits | {TEXTS: example.texts}
