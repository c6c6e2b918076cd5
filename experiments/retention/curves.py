"""What training logged of a run: each value over the global steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eat_lightning.runs.run import Run


def curves(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values by name, over all attempts of a run that was killed and resumed (a step that
    was done twice counts once, the later one)."""
    import pandas

    paths = sorted(run.folder.glob("csv*/metrics.csv"), key=attempt)
    if not paths:
        return {}
    # A killed run may leave half a line, which has no step; groupby leaves it out.
    logged = pandas.concat([pandas.read_csv(path) for path in paths]).groupby("step").last()
    columns = {name: column.dropna() for name, column in logged.items() if name != "epoch"}
    return {
        str(name): (column.index.to_numpy(np.int64), column.to_numpy(np.float64))
        for name, column in columns.items()
        if len(column)
    }


def attempt(path: Path) -> int:
    number = path.parent.name.partition("-")[2]
    return int(number) if number.isdigit() else 1
