"""Reasons why a row's exit rule cannot be replayed: a user's rule that is missing or was edited."""

from __future__ import annotations

from eat_lightning.runs.row import Row, class_here, class_of
from eat_lightning.user_modules import ALLOW, sources_of


def not_imported(kind: str) -> str:
    """Explain how to import a user's exit rule; "" if it is imported."""
    module = kind.rpartition(".")[0]
    absent = module and class_here("exit", kind) is None
    return f"{kind} is not imported here: {ALLOW}={module}" if absent else ""


def edited(row: Row) -> str:
    """Say that the file of a user's exit rule has changed since it was measured; "" if not. The
    changed rule must not be replayed on the row's examples.
    """
    kind = row.exit.kind
    module = kind.rpartition(".")[0]
    if module not in row.sources:
        return ""
    same = sources_of([class_of("exit", kind)]).get(module) == row.sources[module]
    return "" if same else f"{kind} was edited since it was measured: measure again"
