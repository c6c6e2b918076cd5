"""Architectures of transformers, a file each, found by looking; and those of one's own."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.user_modules import allowed_modules
from eat_lightning.weights.family import FAMILIES, Family, register


def known_family(model_type: Any) -> Family | None:
    """The family of a model type; for one that the package has not, modules that EAT_IMPORT names
    are imported first."""
    if not isinstance(model_type, str):
        return None
    if model_type not in FAMILIES:
        for name in allowed_modules():
            with suppress(ImportError):
                import_module(name)
    return FAMILIES.get(model_type)


def family_of(shape: Shape) -> Family:
    """The family that a shape names, or, of a run without one, that its parts fit."""
    named = known_family(shape.family) if shape.family else None
    if named is not None:
        return named
    if shape.relative_buckets:
        return FAMILIES["mpnet"]
    return FAMILIES["roberta" if shape.position_offset else "bert"]


for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
    register(import_module(f"{__name__}.{path.stem}").FAMILY)
