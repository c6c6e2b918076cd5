"""Why a row's exit rule cannot be replayed on its examples: a user's, absent or edited since."""

from __future__ import annotations

from eat_lightning.runs.row import Row, class_here, class_of
from eat_lightning.user_modules import ALLOW, sources_of


def not_imported(kind: str) -> str:
    """Say how to import a user's exit rule that is not here; empty for one that is."""
    module = kind.rpartition(".")[0]
    absent = module and class_here("exit", kind) is None
    return f"{kind} is not imported here: {ALLOW}={module}" if absent else ""


def edited(row: Row) -> str:
    """Say that the file of a user's exit rule is not as it was measured; empty where it is. Another
    rule under the same name must not be replayed on the row's examples."""
    kind = row.exit.kind
    module = kind.rpartition(".")[0]
    if module not in row.sources:
        return ""
    same = sources_of([class_of("exit", kind)]).get(module) == row.sources[module]
    return "" if same else f"{kind} was edited since it was measured: measure again"
