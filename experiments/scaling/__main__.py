"""`python -m experiments.scaling`: how time and memory grow with a text's length.

Besides it the batch, the layers run, the heads asked and retention vary. Random weights: times and
memory alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from experiments.bench.plan import ScalingSettings, refuse_if_busy, session

if TYPE_CHECKING:
    from experiments.scaling.rows import ScalingRow


def scaling(config: dict[str, Any]) -> list[ScalingRow]:
    """Measure it all, write rows, tables and the figure; returns the rows.

    Raises ConfigError, one line per fault, before anything is timed.
    """
    plan = parsed(ScalingSettings, config)
    refuse_if_busy(plan.force)
    from eat_lightning.runs import jsonl
    from experiments.scaling import show

    rows, folder = measured_rows(plan), Path(plan.to)
    refuse_if_busy(plan.force, "begun meanwhile: the times are not kept")
    jsonl.write(folder / "rows.jsonl", rows)  # in place of others: a fit is over one call's points
    for title, table in show.report(rows, folder).items():
        print(f"{title}\n{table.to_string(index=False, na_rep='')}\n")
    print(f"written: {folder}")
    return rows


def measured_rows(plan: ScalingSettings) -> list[ScalingRow]:
    from eat_lightning.model.shape import Shape
    from eat_lightning.record.timing import undisturbed
    from experiments.scaling.measured import measured
    from experiments.scaling.points import body, rounds

    same = {
        **session(),
        "threads": plan.threads,
        "window": plan.window,
        "ratio": plan.ratio,
        "width": plan.encoder.hidden_size,
        "num_layers": plan.encoder.num_layers,
    }
    shape = Shape(**plan.encoder.model_dump(), max_positions=max(plan.lengths))
    encoder, rows = body(shape, plan.seed), []
    with undisturbed(plan.threads):
        for points in rounds(encoder, plan):
            found = measured(points, plan.repeats, **same)
            rows += found
            times = ", ".join(f"{row.candidate} {row.size:g}: {row.ms:,.1f}" for row in found)
            print(f"{points[0].axis}, ms: {times}", flush=True)
    return rows


main = entry("growth", scaling, folder=str(Path(__file__).parent))

if __name__ == "__main__":
    main()
