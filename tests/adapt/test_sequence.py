"""How often the certificate of a search is wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.deploy.adapt.search import Search
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.same_answer import SameAnswer

CLAIMS = [Claim("disagreement", 0.01, 0.95)]


@dataclass
class HandMade(Search):
    """A search whose candidates change each answer by chance, at a rate of their own."""

    random: Any = None

    def drawn(self, candidate: Measured, part: str) -> np.ndarray:
        return self.random.random(len(self.splits[part])) < candidate.depth  # the rate

    def trace(self, candidate: Measured, part: str) -> Trace:
        changed_N = self.drawn(candidate, part)
        return Trace(np.stack([~changed_N, changed_N], 1).astype(float), changed_N)


def made(rates: list[float], claims: list[Claim], seed: int) -> tuple[HandMade, list[Measured]]:
    """A search, and candidates from slow and safe to fast and risky."""
    sizes = {"select": 800, "certify": 1200}
    original = {part: np.tile([1.0, 0.0], (size, 1)) for part, size in sizes.items()}
    splits: Any = {part: range(size) for part, size in sizes.items()}
    unused: Any = None
    same = SameAnswer(SingleLabel(2), ["no", "yes"])
    search = HandMade(
        unused, same, claims, splits, original, unused, 1, 1, {},
        random=np.random.default_rng(seed),
    )  # fmt: skip
    candidates = []
    for place, rate in enumerate(rates):
        exits = Specification("exit", "confidence", {"tau": [0.9], "layers": [1]})
        point = Point.whole(dtype="int8")
        candidate = Measured(point.at(exit=exits) if place else point, depth=rate)
        candidate.ms = {"1": 10.0 - place, "32": 1.0}
        changed_N = search.drawn(candidate, "select")
        candidate.counts, candidate.chance = search.judged(changed_N)
        candidates.append(candidate)
    return search, candidates


def test_a_certificate_is_wrong_no_more_often_than_it_says():
    """1,000 draws of *select* and *certify*; the promise is 1 % of changes at 95 %."""
    wrong = 0
    for seed in range(1000):
        rates = [0.002, 0.006, 0.0101, 0.0102, 0.012]
        search, candidates = made(rates, CLAIMS, seed)
        search.certify(candidates)
        chosen = min((c for c in candidates if c.holds), key=search.speed, default=None)
        wrong += chosen is not None and chosen.depth > 0.01
    assert wrong <= 65  # of 1,000 at 5 %: more has a chance of 2 in 100


def test_a_faster_candidate_is_taken_where_it_holds():
    search, candidates = made([0.0, 0.0005, 0.001], CLAIMS, seed=0)
    search.certify(candidates)
    assert candidates[-1].holds


def test_the_first_that_fails_ends_the_sequence():
    search, (first, second, third) = made([0.0, 0.0, 0.0], CLAIMS, seed=0)
    second.depth = 0.5  # on *certify* it is another than on *select*
    second.chance, third.chance = 0.95, 0.94
    search.certify([first, second, third])
    assert (first.holds, second.holds, third.tested) == (True, False, None)
