"""Answer a file of lines through a depth-wise pool: `predict pool=true`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

import torch

from eat_lightning.infer.depth_batching import Pool
from eat_lightning.infer.onnx_runner import batches, parse
from eat_lightning.predict.__main__ import about_of, described

if TYPE_CHECKING:
    from eat_lightning.predict.__main__ import Answerer

HELD = 64  # batches of lines that one unanswered line may hold back


class Scorer:
    """Takes lines and gives their answers in order. `done`: answers by line from the first that has
    none; when it holds `HELD` batches, all who wait go to their end."""

    def __init__(self, answerer: Answerer, size: int, held: int = HELD):
        self.answerer, self.most = answerer, held * size
        self.pools = {source: Pool(body, size) for source, body in answerer.encoders.items()}
        self.taken, self.given = 0, 0  # lines read, lines answered
        self.done: dict[int, dict[str, Any]] = {}

    def add(self, lines: list[bytes]) -> Iterator[dict[str, Any]]:
        numbers, texts, about = [], [], []
        for number, line in enumerate(lines, start=self.taken):
            try:
                texts.append(parse(line, self.answerer.columns))
                about.append(about_of(line, self.answerer.columns))
                numbers.append(number)
            except ValueError as error:
                self.done[number] = {"line": number + 1, "error": str(error)}
        self.taken += len(lines)
        for source, places in self.answerer.by_source(about).items():
            batch = self.answerer.batch([texts[i] for i in places], [about[i] for i in places])
            with torch.inference_mode():
                for part in self.pools[source].add([numbers[i] for i in places], batch):
                    self.note(*part)
        if self.taken - self.given > self.most:
            self.flush()
        yield from self.ready()

    def end(self) -> Iterator[dict[str, Any]]:
        self.flush()
        yield from self.ready()

    def flush(self) -> None:
        with torch.inference_mode():
            for pool in self.pools.values():
                for part in pool.flush():
                    self.note(*part)

    def note(self, numbers: list[int], trace: Any) -> None:
        self.done.update(zip(numbers, described(trace, self.answerer.labels), strict=True))

    def ready(self) -> Iterator[dict[str, Any]]:
        """The answers that no earlier line holds back."""
        while self.given in self.done:
            yield self.done.pop(self.given)
            self.given += 1


def answer_file(answerer: Answerer, descriptor: int, out: TextIO, size: int) -> int:
    """JSON lines in order; returns how many lines could not be read."""
    scorer, num_bad = Scorer(answerer, size), 0

    def write(answers: Iterator[dict[str, Any]]) -> int:
        told = list(answers)
        out.write("".join(json.dumps(answer) + "\n" for answer in told))
        out.flush()
        return sum("error" in answer for answer in told)

    for lines in batches(descriptor, size):
        num_bad += write(scorer.add(lines))
    return num_bad + write(scorer.end())
