"""Small parquet files, for tests."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write(path: Path, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
