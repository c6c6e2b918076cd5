"""Kept rows of `eat adapt`, as tables and figures read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from eat_lightning.deploy.adapt.demand import EVERY, Count
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result, as_interval

TASKS = {
    "sst2": "SST-2, phrases",
    "qqp": "QQP, pairs",
    "mnli": "MNLI, pairs",
    "mails": "mails, phishing",
    "messages": "messages, spam",
    "banking77": "BANKING77, 77 intents",
    "goemotions": "GoEmotions, 28 labels",
    "stsb": "STS-B, a score",
}
FAMILIES = {
    "mpnet": "MPNet",
    "bert": "MiniLM",
    "distilbert": "DistilBERT",
    "modernbert": "ModernBERT",
    "deberta-v2": "DeBERTa",
}
FROM_RANDOM_WEIGHTS = ("distilbert", "modernbert", "deberta-v2")


def exact(num: int, of: int) -> Interval:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""
    found = binomtest(num, of).proportion_ci(0.95)
    return Interval(num / of, found.low, found.high)


@dataclass(frozen=True)
class Candidate:
    """A candidate of an adaptation; what a row of an older version lacks is None.

    Args:
        name: engine and dtype; with exits the mean number of layers too.
        ms: of a text, as many at once as the adaptation was for.
        speed_up: over transformers.
        selected, tested: `changed`, `num` and `allowed` on the texts for choosing and on those of
            the certificate.
        fault: why it cannot be used.
    """

    name: str
    ms: float | None
    speed_up: Interval | None
    selected: dict[str, int] | None
    tested: dict[str, int] | None
    fault: str | None

    @classmethod
    def of(cls, written: dict[str, Any]) -> Candidate:
        speed_up = as_interval("speed_up", written["speed_up"])
        return cls(**written | {"speed_up": speed_up})

    @property
    def text(self) -> str:
        return self.name if self.ms is None else f"{self.name}: {self.ms:.2f}"


@dataclass(frozen=True)
class Adaptation:
    """One run of `eat adapt`."""

    row: Result

    @property
    def task(self) -> str:
        return self.row["task"]

    @property
    def family(self) -> str:
        return self.row["model"].partition(",")[0]

    @property
    def layers(self) -> int:
        return int(self.row["model"].split(", ")[1].split()[0])

    @property
    def batch(self) -> int:
        return self.row["batch"]

    @property
    def is_pretrained(self) -> bool:
        return self.family not in FROM_RANDOM_WEIGHTS

    @property
    def title(self) -> str:
        return f"{TASKS[self.task]}; {FAMILIES[self.family]}, {self.layers} layers"

    @property
    def processor(self) -> str:
        """ "Intel Xeon" of "Intel(R) Xeon(R) Processor x2"."""
        return re.sub(r"\(R\)| Processor| x\d+$", "", self.row["processor"])

    @property
    def agree(self) -> str:
        return f"{100 * self.row['agree']:.0f} %"

    @cached_property
    def candidates(self) -> list[Candidate]:
        return [Candidate.of(each) for each in self.row["candidates"]]

    def named(self, name: str | None) -> Candidate | None:
        return next((each for each in self.candidates if each.name == name), None)

    @property
    def original(self) -> Candidate:
        return self.candidates[0]

    @property
    def chosen(self) -> Candidate:
        """The fastest candidate that is certified."""
        found = self.named(self.row["chosen"])
        assert found is not None
        return found

    @property
    def static(self) -> Candidate | None:
        """The fastest that runs every layer for every text and is certified, or that the texts for
        choosing give even odds."""
        return self.named(self.row["static"])

    def times(self, other: Candidate | None) -> Interval | None:
        """How many times as fast as another candidate the chosen one is; without an interval where
        the row has none."""
        own = self.chosen
        if other is None or own.ms is None or other.ms is None:
            return None
        if other == self.original and own.speed_up:
            return own.speed_up
        if own.speed_up and other.speed_up:
            return own.speed_up.over(other.speed_up)
        return Interval.exact(other.ms / own.ms)

    @property
    def times_original(self) -> Interval | None:
        return self.times(self.original)

    @property
    def times_static(self) -> Interval | None:
        return self.times(self.static)

    @property
    def count(self) -> Count:
        """Changed answers among the texts of the certificate."""
        tested, error = self.chosen.tested, round(1 - self.row["confidence"], 12)
        assert tested is not None
        level = round(1 - self.row["agree"], 12)
        return Count(EVERY, level, error, tested["num"], tested["changed"])

    @property
    def fresh(self) -> Interval:
        """The share of fresh texts whose answer changes."""
        return exact(self.row["fresh_changed"], self.row["num_fresh"])


def adaptations(results: Path) -> list[Adaptation]:
    """The kept rows: by task, deeper classifiers first, one text at once before several."""
    found = map(Adaptation, result.read(results / "adapted.jsonl"))
    return sorted(found, key=lambda each: ([*TASKS].index(each.task), -each.layers, each.batch))


def newest(found: Sequence[Adaptation]) -> list[Adaptation]:
    """Of each classifier and number of texts at once the row that was measured last."""
    return [*{(each.title, each.batch): each for each in found}.values()]
