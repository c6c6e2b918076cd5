"""Kept rows of `eat adapt`, as tables and figures read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from eat_lightning.record.claim import Claim, Tally
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result, as_interval

TASKS = {
    "sst2": "SST-2, phrases",
    "qqp": "QQP, pairs",
    "mnli": "MNLI, pairs",
    "mails": "e-mails, phishing",
    "messages": "messages, spam",
    "banking77": "BANKING77, 77 intents",
    "goemotions": "GoEmotions, 28 labels",
    "stsb": "STS-B, a score",
}
PRETRAINED = {"mpnet": "MPNet", "bert": "MiniLM"}
FROM_RANDOM = {"distilbert": "DistilBERT", "modernbert": "ModernBERT", "deberta-v2": "DeBERTa"}


def exact(num: int, of: int) -> Interval:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""
    found = binomtest(num, of).proportion_ci(0.95)
    return Interval(num / of, found.low, found.high)


def short(processor: str) -> str:
    """ "Intel Xeon" of "Intel(R) Xeon(R) Processor x2"."""
    return re.sub(r"\(R\)| Processor| x\d+$", "", processor)


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
        return cls(**written | {"speed_up": as_interval("speed_up", written["speed_up"])})

    @property
    def text(self) -> str:
        return self.name if self.ms is None else f"{self.name}: {self.ms:.2f}"


@dataclass(frozen=True)
class Adaptation:
    """One run of `eat adapt`.

    Args:
        row: `chosen` names the fastest candidate that is certified, `static` the fastest that runs
            every layer for every text and is certified, or to which the texts for choosing give
            even odds.
    """

    row: Result

    @property
    def family(self) -> str:
        return self.row["model"].partition(",")[0]

    @property
    def is_pretrained(self) -> bool:
        return self.family in PRETRAINED

    @property
    def layers(self) -> int:
        return int(self.row["model"].split(", ")[1].split()[0])

    @property
    def batch(self) -> int:
        return self.row["batch"]

    @property
    def title(self) -> str:
        family = (PRETRAINED | FROM_RANDOM)[self.family]
        return f"{TASKS[self.row['task']]}; {family}, {self.layers} layers"

    @property
    def processor(self) -> str:
        return short(self.row["processor"])

    @property
    def agree(self) -> str:
        return f"{100 * self.row['agree']:.0f} %"

    @cached_property
    def candidates(self) -> list[Candidate]:
        return [Candidate.of(each) for each in self.row["candidates"]]

    @property
    def original(self) -> Candidate:
        return self.candidates[0]

    @property
    def chosen(self) -> Candidate:
        return next(each for each in self.candidates if each.name == self.row["chosen"])

    @property
    def static(self) -> Candidate | None:
        return next((each for each in self.candidates if each.name == self.row["static"]), None)

    def times(self, other: Candidate | None) -> Interval | None:
        """How many times as fast as another candidate the chosen one is; without an interval where
        the row has none."""
        own = self.chosen
        if other is None or own.ms is None or other.ms is None:
            return None
        if own.speed_up and other == self.original:
            return own.speed_up
        if other == own:
            return Interval.exact(1.0)
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
    def count(self) -> Tally:
        """Changed answers among the texts of the certificate."""
        tested: Any = self.chosen.tested
        claim = Claim("disagreement", round(1 - self.row["agree"], 12), self.row["confidence"])
        return Tally(claim, tested["num"], tested["changed"])

    @property
    def fresh(self) -> Interval:
        """The share of fresh texts whose answer changes."""
        return exact(self.row["fresh_changed"], self.row["num_fresh"])


def adaptations(results: Path) -> list[Adaptation]:
    """The kept rows: by task, deeper classifiers first, one text at once before several."""
    found, order = map(Adaptation, result.read(results / "adapted.jsonl")), [*TASKS]
    return sorted(found, key=lambda e: (order.index(e.row["task"]), -e.layers, e.batch))
