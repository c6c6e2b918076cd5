"""Tables of texts in, tables of answers out: shared by a single machine and a cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.errors import ConfigError
from eat_lightning.text_io import InputLine, refusal

ABOUT = ("source", "mime")  # columns that policies and certificates by source read
ERROR = "error"  # the column that says why a row has no answer
NO_TEXT = "no text, or none that is UTF-8"
WRONG = "__wrong__"  # the column that says what is wrong with a line
TYPES = {"str": pa.string(), "float": pa.float64()}
TYPES |= {f"list of {name}": pa.list_(kind) for name, kind in TYPES.items()}
HOW = {"depth": pa.int16(), "retention": pa.float64(), "exit_reason": pa.string()}
HOW |= {"windows": pa.int32(), "tokens": pa.int32(), "truncated": pa.bool_()}


def text_names(names: Sequence[str], task: Sequence[str], text: Sequence[str] | None) -> list[str]:
    """Return the text columns: `text`, else those of the task, else text (and text_pair).

    Raises:
        ConfigError: where they are not among `names`.
    """
    choices = [text] if text else [task, ["text", "text_pair"][: len(task)]]
    for choice in choices:
        if all(name in names for name in choice):
            return list(choice)
    wanted = ", or ".join(" and ".join(choice) for choice in choices)
    raise ConfigError(f"no column {wanted} (it has {', '.join(names[:10])}): give text=")


def check_text(schema: pa.Schema, names: Sequence[str]) -> None:
    """Raise ConfigError where a column does not hold text."""
    for name in names:
        if not holds_text(schema.field(name).type):
            raise ConfigError(f"{name} must hold text, got {schema.field(name).type}")


def holds_text(type: pa.DataType) -> bool:
    values = type.value_type if pa.types.is_dictionary(type) else type
    return values in (pa.string(), pa.large_string(), pa.string_view())


def table_rows(table: pa.Table, texts: Sequence[str]) -> list[InputLine]:
    """Return the texts of each row with further facts, or the reason why it has none."""
    about = [n for n in ABOUT if n in table.column_names and holds_text(table.schema.field(n).type)]
    columns = {name: strings(table[name]) for name in dict.fromkeys([*texts, *about])}
    wrong = table[WRONG].to_pylist() if WRONG in table.column_names else [None] * len(table)
    rows = []
    for i, why in enumerate(wrong):
        row: list[Any] = [columns[name][i] for name in texts]
        known = {name: str(columns[name][i]) for name in about if columns[name][i] is not None}
        why = why or (NO_TEXT if None in row else None)
        rows.append(InputLine(error={"error": why}) if why else InputLine(row, known))
    return rows


def strings(column: pa.ChunkedArray) -> list[str | None]:
    """Return the values of a text column. Invalid UTF-8, which Arrow does not check,
    becomes None.
    """
    return [string(value) for value in column.cast(pa.large_binary()).to_pylist()]


def string(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def answer_schema(kind: AnswerKind, prefix: str) -> pa.Schema:
    """Return the schema of answers, with `error` as the last column."""
    types = {name: TYPES[type] for name, type in kind.columns.items()}
    types |= HOW | {ERROR: pa.string()}
    return pa.schema([(f"{prefix}{name}", type) for name, type in types.items()])


def answer_table(answers: Sequence[Mapping[str, Any]], schema: pa.Schema, prefix: str) -> pa.Table:
    """Return a row for each answer. Refused or non-finite answers have only a reason in `error`."""
    rows = []
    for answer in answers:
        error = answer_error(answer)
        content = {ERROR: error} if error else answer
        rows.append({f"{prefix}{name}": value for name, value in content.items()})
    return pa.Table.from_pylist(rows, schema)


def answer_error(answer: Mapping[str, Any]) -> str:
    """Return the reason why there is no answer; "" where there is one."""
    if why := refusal(answer):
        return why
    value = answer.get("confidence", answer.get("score", math.nan))
    return "" if math.isfinite(value) else f"the model gave no finite answer ({value})"


def with_columns(table: pa.Table, more: pa.Table) -> pa.Table:
    """Return a table with the columns of both."""
    return pa.table([*table.columns, *more.columns], [*table.column_names, *more.column_names])
