"""What figures of several passes share: a panel for each, and the strength of a colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eat_lightning.report.passes import Pass
from eat_lightning.report.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Panels:
    """A panel for each of `count`, up to three in a row, each so many inches high."""

    count: int
    height: float

    @property
    def num_columns(self) -> int:
        return min(3, self.count)

    @property
    def num_rows(self) -> int:
        return -(-self.count // self.num_columns)

    @property
    def size(self) -> tuple[float, float]:
        """Of the figure, in inches."""
        return max(4.5, 0.8 + 3.0 * self.num_columns), 0.3 + self.height * self.num_rows

    def draw(self, drawing: Any, xlabel: str, ylabel: str = "", **shared: bool) -> list[Axes]:
        """The axes; what is written beside them once: `xlabel` in the last row of each column,
        `ylabel` in the first column."""
        axes = drawing.subplots(self.num_rows, self.num_columns, squeeze=False, **shared)
        for ax in axes.flat[self.count :]:
            ax.remove()
        made = list(axes.flat[: self.count])
        for i, ax in enumerate(made):
            ax.set_ylabel("" if i % self.num_columns else ylabel)
            ax.set_xlabel(xlabel if i + self.num_columns >= self.count else "")
            ax.tick_params(labelbottom=True)
        return made


def opacity(index: int, count: int) -> float:
    """Of the first of `count` the strongest."""
    return 0.95 - 0.6 * index / max(1, count - 1)


def percent(found: Interval) -> str:
    """Of a share."""
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.value:.1f} % ({low:.1f} to {high:.1f})"


def broken(setting: str) -> str:
    """A long name on two lines: "patience 1 at 3/4"."""
    return setting.replace(" at ", "\nat ")


def seeds_text(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def examples_text(found: Sequence[Pass]) -> str:
    """How many each was judged on."""
    numbers = dict.fromkeys(each.row.num_examples for each in found)
    return " or ".join(f"{number} examples" for number in numbers)
