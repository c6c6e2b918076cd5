"""Rows of the proof: how often a certificate holds, and what changes where nothing looked."""

from __future__ import annotations

from dataclasses import dataclass

from eat_lightning.errors import ConfigError


@dataclass(frozen=True)
class AdaptRow:
    """A classifier, and draws of its texts into parts.

    Args:
        task: of `tasks.yaml`.
        model: family and number of layers.
        num_learn: texts that exits learned from.
        num_select, num_certify: texts of these parts in each draw.
        agree, confidence: of the promise.
        sameness: which answers count as changed.
        draws: how often the parts were drawn.
        certified: draws in which something was certified.
        with_exits: draws in which it has exits.
        broken: draws in which more of all kept texts change than was promised.
        depth: mean number of layers over the draws that certified something.
        first_name: of what the first draw chose.
        first_depth: its mean number of layers.
        num_fresh, fresh_changed: texts that the first draw did not see, and how many change.
        fresh_low, fresh_high: exact 95 % interval of their share, in percent.
        latency_ms: at batch 1, of what was chosen; None: not measured.
        commit: of the code.
    """

    task: str
    model: str
    num_learn: int
    num_select: int
    num_certify: int
    agree: float
    confidence: float
    sameness: str
    draws: int
    certified: int
    with_exits: int
    broken: int
    depth: float
    first_name: str
    first_depth: float
    num_fresh: int
    fresh_changed: int
    fresh_low: float
    fresh_high: float
    latency_ms: float | None
    commit: str | None

    def __post_init__(self) -> None:
        if not 0 <= max(self.broken, self.with_exits) <= self.certified <= self.draws:
            raise ConfigError(f"certified must be in 0..{self.draws}, got {self.certified}")

    @property
    def key(self) -> tuple[str, float]:
        """Identity: a new row replaces the one that has it."""
        return self.task, self.agree
