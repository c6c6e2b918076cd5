"""Stages that schedules share."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.model.contracts import Stage


def early_heads(exits: Sequence[int]) -> tuple[str, ...]:
    """The parameters of all heads but the last, and of the exit rule, which learns from these: as
    a stage names them. None where there is no early head."""
    heads = tuple(f"heads.{layer}.*" for layer in sorted(exits)[:-1])
    return (*heads, "exit.*") if heads else ()


def backbone_first(share: float, exits: Sequence[int]) -> Stage:
    """Backbone and last head train alone."""
    return Stage(share=share, frozen=early_heads(exits), exits="last")
