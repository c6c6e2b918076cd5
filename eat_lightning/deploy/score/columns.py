"""The columns of JSON lines that are passed through: fixed by the first lines of the first files.

A value that is of another type than its column, and a key that has no column, stand in the column
`other` as JSON: a corpus of many writers loses nothing, and its files have one schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

OTHER = "other"
TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
TYPES |= {"json": pa.string()}  # lists, objects, and keys of several types


@dataclass(frozen=True)
class JsonColumns:
    """types: of each column, a key of `TYPES`. keep: None is all."""

    types: Mapping[str, str]
    keep: Sequence[str] | None = None

    @classmethod
    def of(cls, sample: Iterable[Mapping[str, Any]], keep: Sequence[str] | None) -> JsonColumns:
        seen: dict[str, set[str]] = {name: set() for name in keep or ()}
        for content in sample:
            for name, value in content.items():
                if name != OTHER and (keep is None or name in keep):
                    kinds = seen.setdefault(name, set())
                    kinds |= set() if value is None else {type(value).__name__}
        types = {}
        for name, kinds in seen.items():
            kinds = {"float"} if kinds == {"int", "float"} else kinds
            types[name] = kinds.pop() if len(kinds) == 1 and kinds <= TYPES.keys() else "json"
        return cls(types, keep)

    @property
    def schema(self) -> pa.Schema:
        fields = [(name, TYPES[kind]) for name, kind in self.types.items()]
        return pa.schema([*fields, (OTHER, pa.string())])

    def table(self, contents: Sequence[Mapping[str, Any]]) -> pa.Table:
        columns: dict[str, list[Any]] = {name: [] for name in self.schema.names}
        for content in contents:
            others = content.items() if self.keep is None else ()
            other = {name: value for name, value in others if name not in self.types}
            for name, kind in self.types.items():
                value = content.get(name)
                if value is not None and not fits(value, kind):
                    other[name], value = value, None
                as_json = kind == "json" and value is not None
                columns[name].append(json.dumps(value) if as_json else value)
            columns[OTHER].append(json.dumps(other) if other else None)
        arrays = [pa.array(columns[field.name], field.type) for field in self.schema]
        return pa.table(arrays, self.schema)


def fits(value: Any, kind: str) -> bool:
    match kind:
        case "json":
            return True
        case "float":
            return isinstance(value, float | int) and not isinstance(value, bool)
        case "int":
            return type(value) is int and -(1 << 63) <= value < 1 << 63
        case "str":  # of which parquet holds all but half a surrogate pair, which JSON can spell
            return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value
        case _:
            return isinstance(value, bool)
