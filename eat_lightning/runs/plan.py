"""Settings shared by several commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt

from eat_lightning.config import RunFolder, Settings
from eat_lightning.long_texts import LEAST_SIZE, Join, LongTexts
from eat_lightning.validation import Count, NotNegative, Positive
from eat_lightning.weights.precision import prepack_faults


def time_faults(key: str, budgets: Sequence[Any], engine: str) -> list[str]:
    """List the error of budgets in milliseconds in an engine: a dial's times are PyTorch's."""
    times = [budget for budget in budgets if str(budget).endswith("ms")]
    return [
        f"{key}={budget}: the dial's times are PyTorch's, not those of {engine}: "
        "give a share such as 0.5"
        for budget in times
    ]


class RunSettings(Settings):
    """Settings of how a run is opened.

    Args:
        policy: a node for each policy.
    """

    run: RunFolder
    batch: Count
    threads: Count | None
    dtype: Literal["fp32", "bf16", "int8"]
    prepack: bool | None
    policy: dict[str, Any]

    def rules(self) -> Iterator[str]:
        yield from prepack_faults(self.prepack, self.dtype)


class WindowSettings(Settings):
    """Settings of windows, as in `LongTexts`."""

    size: Annotated[int, Field(ge=LEAST_SIZE)] | None
    overlap: NonNegativeInt | None
    join: Join
    label: str | None


class LongSettings(Settings):
    """Settings for long texts.

    Args:
        long: how texts are handled that have more tokens than the model reads.
    """

    long: Literal["cut", "windows"]
    windows: WindowSettings

    @property
    def long_texts(self) -> LongTexts:
        return LongTexts(self.long, **dict(self.windows))


class HeadSettings(Settings):
    """Settings for training heads on kept vectors. Lists are searched, one setting after another,
    on four exits.
    """

    texts: Count | None
    batch_size: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    lr: Annotated[list[Positive], Field(min_length=1)]
    weight_decay: Annotated[list[NotNegative], Field(min_length=1)]
    epochs: Annotated[list[Count], Field(min_length=1)]


class OnePassSettings(HeadSettings):
    """enabled: false: no heads are trained."""

    enabled: bool
