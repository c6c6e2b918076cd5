"""How far a command is and the time that is left: a bar on a terminal, else a line now and then.

All of it goes to standard error, so that answers can be piped; NO_COLOR is rich's to follow.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

Item = TypeVar("Item")
FIRST_S, EVERY_S = 5.0, 30.0  # until the first line, and between two, where nobody looks on


def shown(items: Sequence[Item], title: str, fewest: int = 20) -> Iterator[Item]:
    """Go through the items with a bar; without one where there is no title, or where there are
    fewer than `fewest`, which are soon done."""
    if not title or len(items) < fewest:
        yield from items
        return
    with bar(title, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def bar(title: str, total: float) -> Iterator[Callable[[float], None]]:
    """Draw only when advanced, never from a thread of its own: what runs in between is timed."""
    if not sys.stderr.isatty():
        yield Lines(title, total).advance
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    with Progress(
        *Progress.get_default_columns(),  # description, bar, share and the time that is left
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),  # rich would print a pipe's lines to standard error
    ) as progress:
        task = progress.add_task(title, total=total)
        progress.refresh()
        yield lambda count: progress.update(task, advance=count, refresh=True)


class Lines:
    """Says how far it is after FIRST_S, then about every EVERY_S seconds; nothing of what is done
    before."""

    def __init__(self, title: str, total: float, clock: Callable[[], float] = time.monotonic):
        self.title, self.total, self.clock, self.done = title, total, clock, 0.0
        self.first = 0.0  # what the first call advanced: it pays for what is built once
        self.began = clock()
        self.next = self.began + FIRST_S

    def advance(self, count: float) -> None:
        now = self.clock()
        self.done += count
        if self.done == count:
            self.first, self.began = count, now
            return
        if now < self.next or self.done >= self.total or self.done == self.first:
            return
        self.next = now + EVERY_S
        left_s = (now - self.began) * (self.total - self.done) / (self.done - self.first)
        left = timedelta(seconds=round(left_s))
        share = 100 * self.done / self.total
        print(f"{self.title}: {share:.0f} %, {left} left", file=sys.stderr, flush=True)
