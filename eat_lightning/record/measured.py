"""What was measured of a point: cost, agreement, changed answers, and times.

`Measured.of` finds the first two by a replay. Later stages, such as `eat adapt`, fill in the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Tally
from eat_lightning.record.point import Point

if TYPE_CHECKING:
    from eat_lightning.record.record import Record

Cost = Callable[[Point, Trace], float]  # mean cost of an example, from a replay of the point


@dataclass
class Measured:
    """A point and what was measured of it. Numbers that were not measured are NaN.

    Args:
        cost: mean cost of an example, in the unit of the dial; of a candidate of `eat adapt`, the
            milliseconds that its choice was based on.
        agreement: share of answers that are those of full depth; for lists, the share of the best
            candidates that are returned.
        accuracy: share of right answers.
        depth: mean number of layers.
        share: in a cascade, the share of texts whose answer is that of the first model.
        counts: changed answers on the texts that chose the point, one tally per claim.
        chance: chance that its claims are certified, as predicted from those texts.
        tested: changed answers on the texts of the certificate, one tally per claim; None: not
            tested.
        trace: the answers on these texts, before that on those that chose it; not kept in files.
        ms: milliseconds per text, by the number of texts at once.
        speed_up: speed-up over the original with the ends of its 95 % interval, by the same
            numbers; empty if both were not timed side by side.
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

    @classmethod
    def of(
        cls, point: Point, record: Record, cost: Cost, original_BC: np.ndarray | None = None
    ) -> Measured:
        """Replay a point, and measure its cost, depth, agreement and accuracy.

        Args:
            original_BC: logits of the answers to agree with; None: those of the last layer.
        """
        trace = record.replay(point)
        made = cls(point, cost=cost(point, trace), depth=float(trace.depth_B.mean()))
        if record.keep is not None:
            from eat_lightning.record.list_losses import lost_Q  # a server reads no records

            made.agreement = 1 - float(lost_Q(record, trace).mean())
            return made
        original_BC = record.full_BC if original_BC is None else original_BC
        made.agreement = float(record.kind.same(trace.logits_BC, original_BC).mean())
        right_B = record.kind.right(trace.logits_BC, record.targets)
        made.accuracy = float(np.nan_to_num(right_B).mean())
        return made

    @property
    def name(self) -> str:
        """The point as a person reads it, with its mean depth and the share of its cascade."""
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
    def answers(self) -> Trace:
        """The trace of a point whose answers are known."""
        assert self.trace is not None
        return self.trace

    @property
    def holds(self) -> bool:
        """Whether every claim is certified."""
        return self.tested is not None and all(tally.holds for tally in self.tested)

    def as_dict(self) -> dict[str, Any]:
        """Return what was measured, as JSON has it."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        unknown = (None, "", (), {})
        return {
            name: value
            for name, value in found.items()
            if name != "trace" and value not in unknown and value == value  # NaN is not itself
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Measured:
        """Read what `as_dict` gives. Raises ValueError or TypeError if it is damaged."""
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
