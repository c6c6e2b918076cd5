"""`python -m eat_lightning.adapt model=<folder> texts=<file> to=<folder>`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.deploy.adapt.command import KEPT, RENAMED, adapting, summary

if TYPE_CHECKING:
    from eat_lightning.deploy.adapt.search import Bench


def adapt(config: dict[str, Any], bench: Bench | None = None) -> Path:
    """Write the folder of an adapted classifier, and return its path.

    Raises ConfigError, one line per fault, for settings, for a classifier that cannot be adapted,
    and where nothing faster keeps the original's answers.

    Args:
        bench: what times texts, in place of this machine's clock.
    """
    with adapting(config):
        from eat_lightning.deploy.adapt.plan import AdaptSettings

        plan = AdaptSettings.of(config)
        from eat_lightning.deploy.adapt.report import candidates_table
        from eat_lightning.deploy.adapt.run import adapt as adapted

        result, to = adapted(plan, bench=bench), plan.to
        candidates_table(result).show()
        print("\n".join(line for line in (result.won, result.again, result.changes) if line))
        print(
            f"eat predict run={to}\neat serve run={to}\neat_lightning.load({to!r}).classify(texts)"
        )
        hf = f'pipeline("text-classification", model={to!r})'
        print(f"{hf}  # of transformers: the original, no faster")
    return Path(to)


main = entry(
    *("adapt", adapt),
    renamed=RENAMED,
    moved={"queries": "eat rerank"},
    summary=summary,
    kept=KEPT,
)

if __name__ == "__main__":
    main()
