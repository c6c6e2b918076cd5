"""What was found out about a point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Tally
from eat_lightning.record.point import Point


@dataclass
class Measured:
    """A point, and what was found out about it. Numbers that nobody looked at are NaN.

    Args:
        cost: of an example, in the unit of the dial.
        agreement: share of answers that stay what full depth says; of lists, the share of the best
            that are returned.
        accuracy: share of right answers.
        depth: mean number of layers.
        share: of the texts, those whose answer of the model before stands.
        counts: changed answers on the texts that chose the point, by claim.
        chance: that its claims are certified, as far as those texts tell.
        tested: changed answers on the texts of the certificate, by claim; None: not tested.
        trace: the answers there; no file has it.
        ms: of a text, by the number of texts at once.
        speed_up: over the original, with the ends of its 95 % interval, by the same; empty where
            both were not timed side by side.
        fault: why it cannot be used here.
    """

    point: Point
    cost: float = math.nan
    agreement: float = math.nan
    accuracy: float = math.nan
    depth: float = math.nan
    share: float = math.nan
    counts: Sequence[Tally] = ()
    chance: float = 0.0
    tested: Sequence[Tally] | None = None
    trace: Trace | None = None
    ms: dict[str, float] = field(default_factory=dict)
    speed_up: dict[str, list[float]] = field(default_factory=dict)
    fault: str = ""

    @property
    def name(self) -> str:
        """The point for a person, by what its exits and its cascade come to."""
        point = self.point
        exits = f", exits ({self.depth:.2f} layers)" if point.has_exits else ""
        if point.before is None:
            return f"{point.runner}{exits}"
        if point.falls_back:
            again = f"{100 - 100 * self.share:.1f} % answered again in {point.again}"
            return f"{point.before.runner}{exits}, {again}"
        first = f"{point.before.runner} ({100 * self.share:.0f} %)"
        return f"cascade: {first}, else {point.runner}{exits}"

    @property
    def holds(self) -> bool:
        """True where every claim is certified."""
        return self.tested is not None and all(tally.holds for tally in self.tested)

    def as_dict(self) -> dict[str, Any]:
        """What was found out, as JSON has it."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        unknown = (None, "", (), {})
        return {
            name: value
            for name, value in found.items()
            if name != "trace" and value not in unknown and value == value  # NaN is not itself
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Measured:
        """From what `as_dict` gives. ValueError or TypeError where it is damaged."""
        tallies = {
            name: [Tally(**one) for one in given[name]]
            for name in ("counts", "tested")
            if name in given
        }
        made = cls(**{**given, **tallies, "point": Point.read(given.get("point"))})
        numbers = (made.cost, made.agreement, made.accuracy, made.depth, made.share, made.chance)
        if not all(isinstance(each, int | float) for each in numbers):
            raise ValueError("what was measured must be numbers")
        return made
