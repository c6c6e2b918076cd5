"""The settings of an attack, typed and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, NonNegativeInt

from eat_lightning.config import DataSettings, RunFolder, Settings
from eat_lightning.infer.precision import prepack_faults
from eat_lightning.validation import Count


class AttackSettings(Settings):
    """exit_rules: attacked, and judged under. most_tokens: None is the run's own length cap."""

    run: RunFolder
    goals: list[Literal["slowdown", "evasion"]]
    kinds: list[Literal["characters", "words"]] | None
    edits: Count
    words: Count
    candidates: Count
    exit_rules: list[Any] = Field(alias="rules")
    examples: Count
    split: str
    most_tokens: Count | None
    seed: NonNegativeInt
    to: str | None
    data: DataSettings
    batch: Count
    prepack: bool | None
    threads: Count

    def rules(self) -> Iterator[str]:
        if not self.goals:
            yield "goals must be a list of slowdown, evasion, got []"
        if self.kinds == []:
            yield "kinds must be a list of characters, words, got []"
        if not self.exit_rules:
            yield "rules must be a list of exit rules, got []"
        yield from prepack_faults(self.prepack, "fp32")
