"""The queue between the requests and the worker: bounded, in order, and free of who gave up."""

from __future__ import annotations

import threading
import time
from asyncio import Future
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from eat_lightning.serve.question import Example


@dataclass(eq=False)
class Ask:
    """An example that waits for its answer. deadline: by time.monotonic(); inf: as long as it
    takes. future: belongs to the event loop; who gave up has cancelled it."""

    example: Example
    future: Future[dict[str, Any]]
    deadline: float
    arrived: float = field(default_factory=time.monotonic)
    begun: float | None = None

    def is_wanted(self) -> bool:
        return not self.future.done() and time.monotonic() < self.deadline


class Waiting:
    """At most `bound` asks. Filled by the event loop, emptied by the worker's thread."""

    def __init__(self, bound: int):
        self.bound = bound
        self.asks: deque[Ask] = deque()
        self.changed = threading.Condition()
        self.closed = self.hurried = False

    def __len__(self) -> int:
        return len(self.asks)

    def put(self, asks: list[Ask]) -> bool:
        """All of them or none; whether there was room."""
        with self.changed:
            if self.closed or len(self.asks) + len(asks) > self.bound:
                return False
            self.asks.extend(asks)
            self.changed.notify()
        return True

    def drop(self, asks: list[Ask]) -> None:
        """Of those who gave up, at once: they must not take others' room."""
        gone = set(map(id, asks))
        with self.changed:
            self.asks = deque(ask for ask in self.asks if id(ask) not in gone)

    def take(self, size: int, wait_s: float) -> list[Ask]:
        """The next asks that are still wanted: `size` of them, or as many as there are when the
        oldest has waited so long. Blocks until there is one; [] once it is closed and empty."""
        while True:
            with self.changed:
                while not self.asks and not self.closed:
                    self.changed.wait()
                while self.asks and len(self.asks) < size and not (self.closed or self.hurried):
                    left_s = self.asks[0].arrived + wait_s - time.monotonic()
                    if left_s <= 0:
                        break
                    self.changed.wait(left_s)
                taken = [self.asks.popleft() for _ in range(min(size, len(self.asks)))]
                if not taken and self.closed:
                    return []
            if wanted := [ask for ask in taken if ask.is_wanted()]:
                return wanted

    def hurry(self) -> None:
        """Nobody waits for company any more."""
        with self.changed:
            self.hurried = True
            self.changed.notify_all()

    def close(self) -> None:
        """Nothing more comes in; what is there is still handed out."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
