"""Targets that were set before the heads were trained, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eat_lightning.report.table import Cell

from .bodies import Body

MET, MISSED, DEARER = "met", "missed", "reached at a higher cost"


@dataclass(frozen=True)
class Target:
    """At a share of the FLOPs at most so many points are lost, or at most so many percent of the
    answers changed, against every layer.

    Args:
        asked: share of full FLOPs.
        most: points or percent.
        changed: true for percent of changed answers.
        nearest: share that was asked for where no run asked for `asked`.
    """

    task: str
    layers: int
    asked: float
    most: float
    changed: bool = False
    nearest: float = 0.0

    @property
    def words(self) -> str:
        if self.changed:
            return f"at most {self.most:g} % changed at {self.asked:g}"
        return f"at most {self.most:.1f} points lost at {self.asked:g}"

    def verdict(self, fell: float, spent: float) -> str:
        """Judge the loss or the change on dev, without its interval. One that is small enough, but
        cost more than was allowed, is not met."""
        if fell > self.most:
            return MISSED
        return MET if round(spent, 3) <= self.asked else DEARER


TARGETS = (
    Target("sst2", 12, 0.38, 0.3),
    Target("qqp", 12, 0.33, 0.3),
    Target("mnli", 12, 0.52, 1.0),
    Target("qqp", 6, 0.35, 0.3),
    Target("mnli", 6, 0.5, 1.5),
    Target("sst2", 12, 0.34, 1.0, changed=True, nearest=0.35),
    Target("qqp", 12, 0.42, 1.0, changed=True),
    Target("qqp", 6, 0.42, 1.0, changed=True),
    Target("mnli", 12, 0.58, 1.0, changed=True),
    Target("mnli", 6, 0.58, 1.0, changed=True),
)


def target_lines(bodies: Sequence[Body]) -> Iterator[dict[str, Any]]:
    """What each seed reached."""
    by_size = {(body.task, body.layers): body for body in bodies}
    for target in TARGETS:
        body = by_size[target.task, target.layers]
        for seed in body.seeds:
            asked = target.asked if body.at(target.asked, [seed]).members else target.nearest
            point = body.at(asked, [seed])
            lost, changed = body.lost(point), 100 - body.same_answers(point).value
            fell = changed if target.changed else -lost.points if lost else 0.0
            yield {
                "model": f"{body.name}, seed {seed}",
                "wanted": target.words,
                "spent": point.row.flops_ratio,
                "reached": Cell(changed, f"{changed:.2f} %") if target.changed else lost,
                "verdict": target.verdict(fell, point.row.flops_ratio),
            }
