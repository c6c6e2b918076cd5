"""Columns of a record's parquet file: integers in few bytes, and lists of floats by layer.

Shapes: B rows, L layers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED = ("group", "text", "list")  # columns of numbers that mostly ascend


def write(path: Path, columns: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write a parquet file, of two-dimensional arrays a list for each row.

    Lists of floats are split into planes of bytes before zstd, since their exponents resemble each
    other and their last bits nothing.

    Args:
        columns: by their names.
        about: facts on the whole, each of which becomes JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = {name: x for name, x in columns.items() if np.ndim(x) == 2}
    floats = [name for name, x in lists.items() if x.dtype.kind == "f"]
    counted = [name for name in COUNTED if name in columns]
    made = {k: pa.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1]) for k, x in lists.items()}
    table = pa.table({**columns, **made})
    if about:
        facts: dict[str | bytes, Any] = {key: json.dumps(each) for key, each in about.items()}
        table = table.replace_schema_metadata(facts)
    how: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 19,
        "write_statistics": False,
        "store_schema": bool(about),  # else the facts are not kept
        "use_dictionary": [*(columns.keys() - {*floats, *counted})],
        "use_byte_stream_split": [f"{name}.list.element" for name in floats],
        "column_encoding": dict.fromkeys(counted, "DELTA_BINARY_PACKED") or None,
    }
    with replacing(path) as beside:
        pq.write_table(table, beside, **how)


def fact(table: pa.Table, key: str) -> dict[str, Any] | None:
    """A fact on the whole of a table; None where it says nothing. ValueError for what is none."""
    kept = (table.schema.metadata or {}).get(key.encode())
    if kept is None:
        return None
    about = json.loads(kept)
    if not isinstance(about, dict):
        raise ValueError(f"{key} must be an object, got {about!r:.60}")
    return about


def small(numbers: np.ndarray) -> np.ndarray:
    """Return integers in as few bytes as the largest needs; other arrays are returned unchanged."""
    if numbers.dtype.kind not in "iu" or not numbers.size:
        return numbers
    least = np.promote_types(np.min_scalar_type(numbers.min()), np.min_scalar_type(numbers.max()))
    return numbers.astype(least)


def wide(numbers: np.ndarray) -> np.ndarray:
    """Return integers as int64, so that no sum or product of them overflows."""
    return numbers.astype(np.int64) if numbers.dtype.kind in "iu" else numbers


def known(table: pa.Table, name: str) -> np.ndarray | None:
    """Return a column as an array; None if there is none."""
    return array(table[name]) if name in table.column_names else None


def array(values: Any) -> np.ndarray:
    """Return a column as an array, with a row for each list if it holds lists of one length."""
    import pyarrow as pa

    is_list = pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type)
    return stacked(values) if is_list else values.to_numpy()


def by_layer(table: pa.Table, prefix: str) -> dict[int, np.ndarray]:
    """Return the columns whose names are a prefix and a layer, in fp32, by layer."""
    names = [name for name in table.column_names if name.startswith(prefix)]
    found = {int(name.removeprefix(prefix)): stacked(table[name]) for name in names}
    return {layer: found[layer].astype(np.float32) for layer in sorted(found)}


def stacked(values: Any) -> np.ndarray:
    """Return lists of one length as the rows of an array."""
    lists = values.combine_chunks()
    return np.stack(lists.to_numpy(zero_copy_only=False)) if len(lists) else np.empty((0, 0))


def tokens_of(table: pa.Table, num_layers: int) -> np.ndarray:
    """Return the tokens entering each layer (L x B). A layer without a column has those of the
    layer before."""
    tokens_LB, tokens_B = [], wide(table["length"].to_numpy())
    for name in (f"tokens_{layer}" for layer in range(1, num_layers + 1)):
        if name in table.column_names:
            tokens_B = wide(table[name].to_numpy())
        tokens_LB.append(tokens_B)
    return np.stack(tokens_LB)


def fewer_tokens(lengths_B: np.ndarray, tokens_LB: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of layers that fewer tokens enter than the layer before (for the first:
    than the length), by name."""
    before_LB = [lengths_B, *tokens_LB[:-1]]
    layers = enumerate(zip(before_LB, tokens_LB, strict=True), start=1)
    return {f"tokens_{k}": small(now_B) for k, (was_B, now_B) in layers if (was_B != now_B).any()}
