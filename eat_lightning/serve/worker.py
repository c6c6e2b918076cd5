"""The one thread that has the model run: batches in, each answer out when its example leaves."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from eat_lightning.serve.model import Model
from eat_lightning.serve.refused import Refused
from eat_lightning.serve.remote import WorkerDied
from eat_lightning.serve.waiting import Ask, Waiting

Settled = list[tuple[Ask, "dict[str, Any] | Refused"]]


class Worker:
    """Takes batches from `waiting`. `tell` is called in the event loop with what was settled.

    A model that fails on a batch is tried on each of its examples alone, so that one cannot take
    the others' answers. Where the model's process dies, its batch is told so and `revive` makes
    another. `swap` puts another model in its place between two batches.
    """

    def __init__(
        self,
        model: Model,
        waiting: Waiting,
        size: int,
        wait_s: float,
        tell: Callable[[Settled], None],
        revive: Callable[[], Model],
        stuck_s: float,
        deep: Callable[[], frozenset[str | None]] = frozenset,
    ):
        self.model, self.waiting, self.size, self.wait_s = model, waiting, size, wait_s
        self.tell, self.revive, self.deep = tell, revive, deep
        self.stuck_s, self.since = stuck_s, math.inf  # when the batch that runs was begun
        self.loop = asyncio.get_running_loop()
        self.lock = threading.Lock()  # held while a batch runs, so that a model is not closed in it
        self.seconds_each = 0.005  # of an example; a moving mean
        self.deaths, self.is_up = 0, True
        self.at_work: list[Ask] = []
        self.thread = threading.Thread(target=self.run, name="worker", daemon=True)
        self.thread.start()

    def run(self) -> None:
        while asks := self.waiting.take(self.size, self.wait_s):
            self.at_work = asks
            try:
                with self.lock:
                    if not self.model.is_alive():
                        self.replace("the worker died")
                    self.answer(asks)
            except Exception:  # a fault of ours: its batch is told, the next one goes on
                traceback.print_exc()
                self.settle_rest(asks, Refused(500, "the gateway failed on this; see its log"))
            self.at_work, self.since = [], math.inf

    def answer(self, asks: list[Ask]) -> None:
        self.since = start = time.monotonic()
        for ask in asks:
            ask.begun = start
        try:
            self.try_all(asks)
        except WorkerDied as error:
            self.settle_rest(asks, Refused(503, "the worker died with this request", 1))
            self.replace(error)
            return
        taken_s = (time.monotonic() - start) / len(asks)
        self.seconds_each += 0.1 * (taken_s - self.seconds_each)

    def try_all(self, asks: list[Ask]) -> None:
        try:
            self.through(asks)
        except WorkerDied:
            raise
        except Exception:
            traceback.print_exc()
            self.one_by_one([ask for ask in asks if ask in self.at_work])

    def through(self, asks: list[Ask]) -> None:
        for places, answers in self.model.stream([a.example for a in asks], self.deep()):
            self.settle([(asks[i], answer) for i, answer in zip(places, answers, strict=True)])

    def one_by_one(self, asks: list[Ask]) -> None:
        for ask in asks:
            try:
                self.through([ask])
            except WorkerDied:
                raise
            except Exception:
                self.settle([(ask, Refused(500, "the model failed on this example"))])

    def check(self) -> None:
        """Replaces a model that died while it had nothing to do, and kills one that is stuck with a
        batch. Call it outside the event loop."""
        if time.monotonic() - self.since > self.stuck_s:
            self.model.kill()
        if self.lock.acquire(blocking=False):
            try:
                if not self.model.is_alive() and not self.waiting.closed:
                    self.replace("the worker died")
            finally:
                self.lock.release()

    def replace(self, why: object) -> None:
        """Tried until it works: there is nothing better to do, and the queue has a bound."""
        print(f"{why}: starting another", file=sys.stderr, flush=True)
        self.deaths += 1
        self.is_up = False
        self.model.close()
        while not (self.waiting.closed and not self.waiting):
            try:
                self.model = self.revive()
                self.is_up = True
                return
            except Exception as error:
                print(f"the worker does not start: {error}", file=sys.stderr, flush=True)
                time.sleep(1)

    def settle(self, settled: Settled) -> None:
        gone = {id(ask) for ask, _ in settled}
        self.at_work = [ask for ask in self.at_work if id(ask) not in gone]
        self.loop.call_soon_threadsafe(self.deliver, settled)

    def settle_rest(self, asks: list[Ask], why: Refused) -> None:
        self.settle([(ask, why) for ask in asks if ask in self.at_work])

    def deliver(self, settled: Settled) -> None:
        """In the event loop. What is told comes first: it takes out what is not for clients."""
        try:
            self.tell(settled)
        finally:
            for ask, answer in settled:
                give(ask, answer)

    def swap(self, model: Model) -> None:
        """Waits for the batch that runs; call it outside the event loop."""
        with self.lock:
            old, self.model = self.model, model
        old.close()

    def stop(self, longest_s: float) -> None:
        """When all that waits is answered, or after so long. Call it outside the event loop."""
        self.waiting.close()
        self.thread.join(longest_s)
        self.model.close()


def give(ask: Ask, answer: dict[str, Any] | Refused) -> None:
    if ask.future.done():  # who asked gave up
        return
    if isinstance(answer, Refused):
        ask.future.set_exception(answer)
        return
    answer["latency_ms"] = round((time.monotonic() - ask.arrived) * 1e3, 3)
    ask.future.set_result(answer)
