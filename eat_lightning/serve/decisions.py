"""Every decision of the gateway as a line of drift's decision log, and each alarm of drift."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from eat_lightning.drift.decisions import TEXTS, DecisionLog
from eat_lightning.drift.observation import Observation
from eat_lightning.serve.question import Example

Decided = tuple[Example, dict[str, Any], Observation | None]


class Decisions:
    """A disk that is full is told once, and takes no answer with it."""

    def __init__(self, log: DecisionLog):
        self.log, self.told = log, False

    def write(self, decided: list[Decided], drift: str) -> None:
        """drift: the monitor's state."""
        self.add([line_of(*each) | {"drift": drift} for each in decided])

    def event(self, event: dict[str, Any], drift: str) -> None:
        self.add([event | {"drift": drift}])

    def add(self, lines: list[dict[str, Any]]) -> None:
        try:
            self.log.add(lines)
        except OSError as error:
            if not self.told:
                print(f"log={self.log.path}: cannot be written ({error})", file=sys.stderr)
            self.told = True

    def close(self) -> None:
        self.log.close()


def line_of(example: Example, answer: dict[str, Any], seen: Observation | None) -> dict[str, Any]:
    about: dict[str, Any] = {"source": example.source, "mime": example.mime}
    about["num_characters"] = example.num_characters
    exits = {} if seen is None else {"exits": asdict(seen)}
    return about | answer | exits | {TEXTS: example.texts}
