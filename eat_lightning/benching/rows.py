"""A contestant's time on one task at one batch size: the schema, its writer and its reader."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.runs import write_text
from eat_lightning.untrusted import parsed

KEY = ("contestant", "task", "batch", "order", "dtype", "threads", "width", "machine", "commit")


@dataclass(frozen=True)
class BenchRow:
    """Milliseconds and FLOPs are means over examples; low and high are over repeats, in which the
    contestants took turns. FLOPs are of real tokens, attention included: padding is work, but not
    work that anybody asked for.

    order: "as they come", or "sorted" by length. padding_factor: padded tokens / real tokens, were
    each batch padded. flops_ratio, speed_up and conversion (speed_up x flops_ratio) are against the
    static encoder of as many layers on our kernels; over_bert and over_distilbert are against those
    of Hugging Face. limit_ms: the larger of FLOPs / gflops_ceiling and bytes of weights read /
    gbytes_ceiling; distance: ms / limit_ms; peak_share: FLOPs / ms against gflops_ceiling.
    """

    contestant: str
    task: str
    batch: int
    order: str
    dtype: str
    threads: int
    width: int
    num_layers: int
    num_examples: int
    repeats: int
    mean_length: float
    padding_factor: float
    ms: float
    ms_low: float
    ms_high: float
    flops: float
    depth: float
    flops_ratio: float
    speed_up: float
    speed_up_low: float
    speed_up_high: float
    conversion: float
    over_bert: float
    over_bert_low: float
    over_bert_high: float
    over_distilbert: float
    over_distilbert_low: float
    over_distilbert_high: float
    gflops_ceiling: float
    gbytes_ceiling: float
    limit_ms: float
    distance: float
    peak_share: float
    weights: str = "random"
    machine: str = ""
    commit: str = ""
    version: str = ""
    session: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be in (0, inf), got {value!r}")

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in KEY)


def read(path: Path) -> list[BenchRow]:
    """None where there is no file; ConfigError names a damaged line."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(BenchRow(**parsed(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}: not a row ({error}); move it away") from None
    return rows


def write(path: Path, new: Iterable[BenchRow]) -> list[BenchRow]:
    """Add rows in place of those with the same key; returns all."""
    fresh = {row.key: row for row in new}
    rows = [*(row for row in read(path) if row.key not in fresh), *fresh.values()]
    write_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))
    return rows
