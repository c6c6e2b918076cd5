"""`python -m eat_lightning.rerank model=<folder> queries=<file> to=<folder>`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.deploy.adapt.command import KEPT, RENAMED, adapting, summary


def rerank(config: dict[str, Any]) -> Path:
    """Write the folder of an adapted cross-encoder, and return its path.

    Raises ConfigError, one line per fault, for settings, for a model that cannot be adapted, and
    where no schedule keeps the original's best candidates.
    """
    with adapting(config):
        from eat_lightning.deploy.adapt.plan import ListSettings

        plan = ListSettings.of(config)
        from eat_lightning.deploy.adapt.list_run import adapt_lists

        result = adapt_lists(plan)
        print(result.won)
        print(result.in_order)
        print(f"eat serve run={plan.to}\neat_lightning.load({plan.to!r}).rank(query, texts)")
    return Path(plan.to)


main = entry(*("rerank", rerank), renamed=RENAMED, summary=summary, kept=KEPT)
