"""Supported architectures of transformers, one per file, and families registered by the user."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from eat_lightning.model.shape import Shape
from eat_lightning.user_modules import allowed_modules
from eat_lightning.weights.family import FAMILIES, Family, register


def known_family(model_type: Any) -> Family | None:
    """Return the family of a model type. For an unknown one, the modules in EAT_IMPORT are imported
    first.
    """
    if not isinstance(model_type, str):
        return None
    if model_type not in FAMILIES:
        for name in allowed_modules():
            with suppress(ImportError):
                import_module(name)
    return FAMILIES.get(model_type)


def family_of(shape: Shape) -> Family:
    """Return the family that a shape names or, for a run without one, the family that its parts
    fit.
    """
    named = known_family(shape.family) if shape.family else None
    if named is not None:
        return named
    if shape.relative_buckets:
        return FAMILIES["mpnet"]
    return FAMILIES["roberta" if shape.position_offset else "bert"]


for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
    register(import_module(f"{__name__}.{path.stem}").FAMILY)
