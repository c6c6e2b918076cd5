"""A corpus scored in this process, and what came out, for tests."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from helpers.finished import config_of

from eat_lightning.deploy.score.command import score


def settings(given: Any, output: Path, run: Path, **changes: Any) -> dict[str, Any]:
    given = given if isinstance(given, list) else str(given)
    config = config_of("score") | {"input": given, "output": str(output), "run": str(run)}
    return config | {"workers": 1, "shard_rows": 16, "window": 8} | changes


def scored(given: Any, output: Path, run: Path, **changes: Any) -> list[dict[str, Any]]:
    """The rows, in the order of the input."""
    assert score(settings(given, output, run, **changes)) == 0
    return rows_of(output)


def rows_of(output: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(output.rglob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def rejects_of(output: Path) -> list[dict[str, Any]]:
    paths = sorted((output / "_rejects").rglob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]
