"""Settings that every command on a run can be given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from eat_lightning.config import RunFolder, Settings
from eat_lightning.infer.precision import prepack_faults
from eat_lightning.long_texts import LEAST_SIZE, Join
from eat_lightning.validation import Whole


class RunSettings(Settings):
    """policy: a node for each policy."""

    run: RunFolder
    batch: Annotated[int, Whole(1)]
    threads: Annotated[int | None, Whole(1)]
    dtype: Literal["fp32", "bf16", "int8"]
    prepack: bool | None
    policy: dict[str, Any]

    def rules(self) -> Iterator[str]:
        yield from prepack_faults(self.prepack, self.dtype)


class WindowSettings(Settings):
    """As `LongTexts` has them."""

    size: Annotated[int | None, Whole(LEAST_SIZE)]
    overlap: Annotated[int | None, Whole(0)]
    join: Join
    label: str | None
