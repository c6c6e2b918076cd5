"""Answer a file of lines through a depth-wise pool: `predict pool=true`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from eat_lightning.answers import batches, read_lines, write
from eat_lightning.infer.depth_batching import Pool
from eat_lightning.infer.torch_backend import TorchBackend, in_numpy

HELD = 64  # batches of lines that one unanswered line may hold back


class PooledLines:
    """Takes lines and gives their answers in order. `done`: answers by line from the first that has
    none; when it holds `HELD` batches, all who wait go to their end."""

    def __init__(self, backend: TorchBackend, size: int, held: int = HELD):
        self.backend, self.most = backend, held * size
        self.pools = {source: Pool(body, size) for source, body in backend.by_source.items()}
        self.taken, self.given = 0, 0  # lines read, lines answered
        self.done: dict[int, dict[str, Any]] = {}
        self.cut: set[int] = set()  # numbers of those whose text was longer than the model reads

    @torch.inference_mode()
    def add(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """The answers that no earlier line holds back."""
        read = read_lines(lines, self.taken + 1, self.backend.columns)
        numbered = list(enumerate(read, start=self.taken))
        self.done |= {number: line.error for number, line in numbered if line.error is not None}
        sound = [(number, line) for number, line in numbered if line.error is None]
        self.taken += len(lines)
        for source, places in self.backend.places([line.about for _, line in sound]).items():
            here, own = [sound[i][0] for i in places], [sound[i][1] for i in places]
            encoded = self.backend.encoded([line.texts for line in own])
            self.cut.update(number for number, cut in zip(here, encoded.cut, strict=True) if cut)
            batch = self.backend.batch_of(encoded, [line.about for line in own])
            self.note(self.pools[source].add(here, batch))
        return self.end() if self.taken - self.given > self.most else [*self.ready()]

    @torch.inference_mode()
    def end(self) -> list[dict[str, Any]]:
        """All that is left."""
        for pool in self.pools.values():
            self.note(pool.flush())
        return [*self.ready()]

    def note(self, parts: Iterable[tuple[list[int], Any]]) -> None:
        for numbers, trace in parts:
            cut_B = np.array([number in self.cut for number in numbers])
            self.cut.difference_update(numbers)
            answers = in_numpy(trace, cut_B).answers(self.backend.labels)
            self.done.update(zip(numbers, answers, strict=True))

    def ready(self) -> Iterator[dict[str, Any]]:
        while self.given in self.done:
            yield self.done.pop(self.given)
            self.given += 1


def answer_pooled(backend: TorchBackend, size: int) -> int:
    """Answer standard input; returns how many lines could not be read."""
    lines, num_bad = PooledLines(backend, size), 0
    for batch in batches(sys.stdin.fileno(), size):
        num_bad += write(lines.add(batch))
    return num_bad + write(lines.end())
