"""The panels of the drift study's figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import Any

from eat_lightning.report.figures import INK, MARKERS, SERIES

from .trials import Trial

MOST = 2000  # shifted examples of a trial


def draw_delays(ax: Any, shifts: dict[str, Sequence[Trial]]) -> None:
    for row, own in enumerate(shifts.values()):
        for i, trial in enumerate(own):
            y = row + 0.5 * (i / max(len(own) - 1, 1) - 0.5)
            found = trial.delay is not None
            x = trial.delay if found else trial.num_shifted
            face = SERIES[1] if found else "none"
            ax.plot(x, y, "o", markersize=3, color=SERIES[1], markerfacecolor=face)
    ax.set(xscale="log", xlabel="examples until the alarm", title="Delay")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(shifts)), list(shifts))
    ax.invert_yaxis()


def draw_gain(ax: Any, shifts: dict[str, Sequence[Trial]]) -> None:
    """Points over open exits, where labels are known."""
    labelled = {n: own for n, own in shifts.items() if own[0].accuracy_early is not None}
    ways = ("accuracy_watched", "watched"), ("accuracy_full", "full depth")
    for k, (name, title) in enumerate(ways, start=1):
        x = [
            100 * mean(getattr(trial, name) - trial.accuracy_early for trial in own)
            for own in labelled.values()
        ]
        y = [row + 0.2 * (k - 1.5) for row in range(len(labelled))]
        ax.plot(x, y, MARKERS[k], markersize=4, color=SERIES[k], label=title)
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set(xlabel="points of accuracy over open exits", title="Fallback")
    ax.set_yticks(range(len(labelled)), list(labelled))
    ax.invert_yaxis()
    ax.legend(loc="best", handlelength=1.0)


def draw_control(
    ax: Any,
    controls: Iterable[Sequence[Trial]],
    interval: Callable[[int], tuple[float, float]],
) -> None:
    looks: dict[str, int] = {}
    lengths = set()
    for own in controls:
        num, alarms = sum(t.num_before for t in own), sum(t.alarms for t in own)
        label = f"{own[0].task}, {'redrawn' if 'redrawn' in own[0].stream else 'dev'}"
        k = looks.setdefault(label, len(looks))
        low, high = (100_000 * end / num for end in interval(alarms))
        x, y = own[0].run_length * 1.12 ** (k - 1.5), 100_000 * alarms / num
        lengths.add(own[0].run_length)
        ax.plot([x, x], [max(low, 0.05), high], color=SERIES[k])
        title = label if label not in ax.get_legend_handles_labels()[1] else None
        ax.plot(x, max(y, 0.05), MARKERS[k], markersize=4, color=SERIES[k], label=title)
    ends = sorted(lengths)
    ax.plot(ends, [100_000 / x for x in ends], color=INK, linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel="run length", ylabel="alarms per 100,000")
    ax.set_title("False alarms")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.legend(loc="best", handlelength=1.0)
