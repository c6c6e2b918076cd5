"""`python -m eat_lightning.measure run=<folder>`: accuracy, depth, retention, FLOPs and time.

The exit rule and its threshold need no training: one pass records the logits of every exit, and all
settings are evaluated from this record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.files import fields_of


def measure(config: dict[str, Any]) -> Sequence[Any]:
    """Measure all settings of all runs, or a reranker of `eat rerank` and its baselines; write the
    rows and print a table.

    Raises:
        ConfigError: with one line per invalid setting, before anything is loaded.
    """
    from eat_lightning.bundle.bundle import is_of_lists
    from eat_lightning.evaluation.plan import planned, run_paths

    if any(map(is_of_lists, run_paths(config["run"]))):
        from eat_lightning.evaluation.lists import ListMeasureSettings, measure_lists

        return measure_lists(ListMeasureSettings.of(config))
    from eat_lightning.evaluation.rows import measured
    from eat_lightning.evaluation.summary import show
    from eat_lightning.track.log import log_rows

    plan, subjects = planned(config)
    rows, runs = measured(plan, subjects), [subject.run for subject in subjects]
    log_rows(plan.logger, rows, runs)
    show(rows, runs)
    for subject in subjects:
        if subject.certificate is not None:
            print(subject.certificate.summary)
    return rows


def summary(rows: Sequence[Any]) -> dict[str, Any]:
    return {"rows": [fields_of(row) for row in rows]}


main = entry(
    *("measure", measure, "run"),
    summary=summary,
    kept="rows that were written stay, and the same command measures all again",
)
