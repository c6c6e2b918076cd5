"""`python -m eat_lightning.capacity run=<folder> rate=<a second> p99_ms=<ms>`: replicas needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed

if TYPE_CHECKING:
    from eat_lightning.capacity.row import CapacityRow


def capacity(config: dict[str, Any]) -> list[CapacityRow]:
    """Measure, simulate and compare; returns the rows, which are written.

    Raises ConfigError, one line per fault, before anything is measured.
    """
    from eat_lightning.capacity.plan import CapacityPlan

    plan = parsed(CapacityPlan, config)
    from eat_lightning.capacity.sizing import sized

    return sized(plan)


main = entry("capacity", capacity)

if __name__ == "__main__":
    main()
