"""The gateway's state, apart from HTTP: what it accepts, who waits, which model answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from eat_lightning.drift.monitor import ALARM, Event
from eat_lightning.errors import ConfigError
from eat_lightning.serve.decisions import Decided, Decisions
from eat_lightning.serve.drifting import FILE, Drifting
from eat_lightning.serve.jobs import Jobs
from eat_lightning.serve.journal import Journal
from eat_lightning.serve.meters import Meters
from eat_lightning.serve.model import Model
from eat_lightning.serve.question import Example, Limits, Question
from eat_lightning.serve.refused import Refused
from eat_lightning.serve.waiting import Ask, Waiting
from eat_lightning.serve.worker import Settled, Worker

Outcome = dict[str, Any] | Refused
WATCH_S = 0.5  # between two looks
DRIFT = ("run_length", "window", "calm", "psi")  # of a monitor


class Gateway:
    """`open` makes a model of a config; it is called anew for each reload."""

    def __init__(
        self,
        config: dict[str, Any],
        model: Model,
        open: Callable[[dict[str, Any]], Model],
        journal: Journal | None = None,
        decisions: Decisions | None = None,
    ):
        self.config: dict[str, Any] = config
        self.open, self.about = open, model.about
        self.first_model, self.journal = model, journal
        self.waiting = Waiting(config["queue"])
        self.meters = Meters(self.about.num_layers)
        self.jobs: Jobs | None = None
        self.decisions = decisions
        self.events: deque[dict[str, Any]] = deque(maxlen=20)  # of drift
        chosen = {k: v for k, v in config["drift"].items() if k in DRIFT}
        self.drifting = Drifting(self.about.normal, chosen, state_of(config))
        self.say_drift()
        self.reloading = asyncio.Lock()
        self.stopping = False

    def start(self) -> None:
        """In the event loop."""
        assert self.first_model is not None
        wait_s = self.config["wait_ms"] / 1000
        self.worker = Worker(
            *(self.first_model, self.waiting, self.config["batch"], wait_s),
            tell=self.settled,
            revive=lambda: self.open(self.config),
            deep=self.deep,
            stuck_s=self.config["stuck_s"],
        )
        self.first_model = None
        if self.journal is not None:
            keep_s = self.config["keep_hours"] * 3600
            ahead, bound = 2 * self.config["batch"], self.config["max_jobs"]
            self.jobs = Jobs(self.journal, self.waiting, ahead, bound, keep_s)
        self.watching = asyncio.ensure_future(self.watch())

    async def watch(self) -> None:
        """A worker that died is replaced before the next request meets it."""
        while True:
            await asyncio.sleep(WATCH_S)
            await asyncio.to_thread(self.worker.check)
            self.drifting.keep()

    @property
    def state(self) -> str:
        if self.stopping:
            return "stopping"
        return "up" if self.worker.is_up else "starting a worker"

    @property
    def limits(self) -> Limits:
        config = self.config
        sources = self.about.sources if config["strict_sources"] else None
        return Limits(config["max_bytes"], config["max_texts"], config["max_chars"], sources)

    def read(self, body: bytes) -> Question:
        return Question.of(body, self.about.columns, self.limits)

    def accept(self, examples: list[Example], deadline_ms: float) -> list[Ask]:
        """Room for all of them, or Refused: 503 and when to come again."""
        now, loop = time.monotonic(), asyncio.get_running_loop()
        deadline = now + deadline_ms / 1000
        asks = [Ask(example, loop.create_future(), deadline, now) for example in examples]
        if not self.waiting.put(asks):
            seconds = len(self.waiting) * self.worker.seconds_each
            said = f"the queue is full ({self.waiting.bound} examples)"
            raise Refused(503, said, max(1, math.ceil(seconds)))
        return asks

    async def answers(self, asks: list[Ask]) -> AsyncGenerator[tuple[int, Outcome], None]:
        """Places and answers as they come; after the deadline, 504 for all that are left. Who stops
        listening takes what is left out of the queue."""
        ready: asyncio.Queue[int] = asyncio.Queue()
        for place, ask in enumerate(asks):
            ask.future.add_done_callback(lambda _, place=place: ready.put_nowait(place))
        left = set(range(len(asks)))
        try:
            while left:
                left_s = asks[0].deadline - time.monotonic()
                try:
                    place = await asyncio.wait_for(ready.get(), left_s)
                except TimeoutError:
                    break
                left.discard(place)
                yield place, outcome(asks[place])
            late = Refused(504, "the deadline passed")
            for place in sorted(left):
                yield place, outcome(asks[place]) if asks[place].future.done() else late
        finally:
            self.give_up([ask for ask in asks if not ask.future.done()])

    def give_up(self, asks: list[Ask]) -> None:
        if asks:
            for ask in asks:
                ask.future.cancel()
            self.waiting.drop(asks)

    def settled(self, settled: Settled) -> None:
        """By the worker, in the event loop."""
        decided: list[Decided] = []
        for ask, answer in settled:
            self.meters.answered(ask, answer)
            if not isinstance(answer, Refused):
                decided.append((ask.example, answer, answer.pop("seen", None)))
        if self.decisions is not None:
            self.decisions.write(decided, self.meters.drift_state)
        for example, _, seen in decided:
            if seen is not None:
                source = example.source if example.source in self.drifting.watches else None
                self.drifted(self.drifting.observe(source, seen), source)

    def say_drift(self) -> None:
        self.meters.say_drift(self.drifting.state, self.drifting.began)

    def deep(self) -> frozenset[str | None]:
        """Sources whose examples run every layer, since their stream has left what is normal."""
        return self.drifting.deep if self.config["drift"]["fallback"] else frozenset()

    def drifted(self, event: Event | None, source: str | None) -> None:
        if event is None:
            return
        self.say_drift()
        if event.event == ALARM:
            self.meters.alarms.labels(event.feature).inc()
        told = event.as_dict() | ({} if source is None else {"source": source})
        self.events.append(told | {"time": time.time()})
        if self.decisions is not None:
            self.decisions.event(told, self.meters.drift_state)

    async def reload(self, name: str | None = None) -> str:
        """Another run in the place of this one, which answers until the new one has been tried.

        `name`: of a run beside the served one; None reads the same folder again. Raises Refused;
        then the old one goes on.
        """
        if self.reloading.locked():
            raise Refused(409, "another reload is under way", 5)
        async with self.reloading:
            config = self.config
            if name is not None:
                config = config | {"run": str(Path(config["run"]).parent / name)}
            try:
                model = await asyncio.to_thread(self.open, config)
                check_sources(config, model)
            except Exception as error:
                self.meters.reloads.labels("refused").inc()
                reason = str(error).replace("\n", "; ") or type(error).__name__
                raise Refused(409, f"the old run goes on: {reason}") from None
            if model.about.task != self.about.task:
                await asyncio.to_thread(model.close)
                self.meters.reloads.labels("refused").inc()
                told = f"{model.about.name} is of another task"
                raise Refused(409, f"the old run goes on: {told} ({model.about.task})")
            await asyncio.to_thread(self.worker.swap, model)
            self.config, self.about = config, model.about
            self.drifting.take(model.about.normal, {})
            self.say_drift()
            self.meters.reloads.labels("done").inc()
            return model.about.name

    def begin_stop(self) -> None:
        self.stopping = True
        self.waiting.hurry()

    async def stop(self) -> None:
        """When all that was accepted is answered."""
        self.begin_stop()
        longest_s = self.config["stop_s"]
        if self.jobs is not None and (left := await self.jobs.stop(longest_s)):
            print(f"{left} jobs stay in the journal for the next start", flush=True)
        self.watching.cancel()
        await asyncio.to_thread(self.worker.stop, longest_s)
        self.drifting.keep(soon=True)
        if self.decisions is not None:
            self.decisions.close()

    def live(self) -> dict[str, Any]:
        return self.meters.snapshot() | {
            "run": self.about.name,
            "mode": self.config["mode"],
            "state": self.state,
            "num_layers": self.about.num_layers,
            "exits": list(self.about.exits),
            "columns": list(self.about.columns),
            "sources": sorted(self.about.sources),
            "drifting": self.drifting.sources(),
            "drift_since": self.drifting.began,
            "events": list(self.events),
            "queue": len(self.waiting),
            "bound": self.waiting.bound,
            "jobs": None if self.jobs is None else self.jobs.num_waiting,
        }


def state_of(config: dict[str, Any]) -> Path | None:
    """Where the monitors' state is kept over a restart."""
    folder = config["drift"]["state"] or config["journal"]
    return Path(folder) / FILE if folder else None


def check_sources(config: dict[str, Any], model: Model) -> None:
    """ConfigError where every request would be refused; then the model is closed."""
    if config["strict_sources"] and not model.about.sources:
        model.close()
        raise ConfigError("strict_sources=true needs exits for each source: certificate=...")


def outcome(ask: Ask) -> Outcome:
    if ask.future.cancelled():
        return Refused(504, "the deadline passed")
    error = ask.future.exception()
    if error is None:
        return ask.future.result()
    assert isinstance(error, Refused)
    return error
