"""Tables of the kept rows of `eat adapt`: README's, and that of all classifiers.

    python -m experiments.adapt.table [front]

"Fastest static engine" is the fastest of our kernels, onnxruntime and OpenVINO, in any dtype, that
runs every layer for every text and is certified too, or would be as the texts for choosing tell.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eat_lightning.runs import jsonl
from experiments.adapt.chosen import ChosenRow, TimedForm
from experiments.bench.tables import processor

ROWS = Path(__file__).with_name("results") / "chosen.jsonl"
NAMES = {
    "sst2": "SST-2, phrases",
    "qqp": "QQP, pairs",
    "mnli": "MNLI, pairs",
    "mails": "mails, phishing",
    "messages": "messages, spam",
    "banking77": "BANKING77, 77 intents",
    "goemotions": "GoEmotions, 28 labels",
    "stsb": "STS-B, a score",
}
FRONT = ("sst2", "qqp", "mnli", "messages", "banking77", "goemotions", "stsb")  # README's, if kept
SMALL = ("distilbert", "modernbert", "deberta-v2")  # of random weights: not README's
MOST = 5  # of these
GAIN = 1.05  # times as fast: below it, exits are said to win nothing


def rows() -> list[ChosenRow]:
    """Read the kept rows, deeper classifiers of a task first, one text at once before several."""
    found = jsonl.read(ROWS, ChosenRow)
    return sorted(found, key=lambda row: (list(NAMES).index(row.task), -layers(row), row.batch))


def layers(row: ChosenRow) -> int:
    return int(row.model.split(", ")[1].split()[0])


def ratio(row: ChosenRow, against: TimedForm) -> float:
    """Times as fast as another form: by what both are over the original where the row has it,
    since they may have been timed in two calls."""
    own, other = row.chosen.speed_up, against.speed_up
    return own[0] / other[0] if own and other else against.ms / row.chosen.ms


def times(row: ChosenRow, against: TimedForm | None) -> str:
    """Write how many times as fast as another form what was chosen is, with the 95 % interval
    beside transformers where the row has one."""
    if against is None:
        return "none holds"
    ends = row.chosen.speed_up if against == row.original else None
    interval = f" ({ends[1]:.1f} to {ends[2]:.1f})" if ends else ""
    return f"{ratio(row, against):.1f}{interval}"


def where_not(row: ChosenRow) -> str:
    """Say from the row alone where exits do not pay."""
    if row.static == row.chosen:
        return f"no exits were chosen: {row.chosen.name}, was"
    if row.static is not None and ratio(row, row.static) < GAIN:
        return f"exits win nothing: {row.static.name}, is as fast"
    return "" if row.agree >= 0.99 else f"a promise of {100 * row.agree:.0f} % alone was tried"


def front() -> str:
    """Make README's table: of a classifier the row that was measured last."""
    head = (
        "| classifier, layers | processor | answers that stay | times Hugging Face | "
        "times the fastest static engine | where it does not pay |\n|---|---|---:|---:|---:|---|"
    )
    of_one = [row for row in rows() if row.task in FRONT and row.batch == 1]
    newest = {(row.task, row.model): row for row in of_one if not row.model.startswith(SMALL)}
    lines = [
        f"| {NAMES[row.task]}, {layers(row)} | {processor(row.machine)} | "
        f"{100 * row.agree:.0f} % | {times(row, row.original)} | "
        f"{times(row, row.static)} | {where_not(row)} |"
        for row in [*newest.values()][:MOST]
    ]
    return "\n".join([head, *lines])


def whole() -> str:
    """Make the table of all classifiers."""
    head = (
        "| classifier | processor | texts at once | promise | certificate | fresh texts changed | "
        "transformers, ms | fastest static, ms | chosen, ms | times HF | times static | minutes |\n"
        "|---|---|---:|---|---|---|---:|---|---|---:|---:|---:|"
    )
    return "\n".join([head, *map(line, rows())])


def line(row: ChosenRow) -> str:
    low, high = row.fresh_percent
    static = "none holds" if row.static is None else f"{row.static.name}: {row.static.ms:.2f}"
    cells = (
        f"{NAMES[row.task]}; {row.model}",
        processor(row.machine),
        f"{row.batch}",
        f"{100 * row.agree:.0f} % at {100 * row.confidence:.0f} %",
        f"{row.certified_changed} of {row.num_certify:,}",
        f"{row.fresh_changed} of {row.num_fresh:,} ({low:.2f} to {high:.2f} %)",
        f"{row.original.ms:.2f}",
        static,
        f"{row.chosen.name}: {row.chosen.ms:.2f}",
        times(row, row.original),
        times(row, row.static),
        "" if row.minutes is None else f"{row.minutes:.1f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(front() if sys.argv[1:] == ["front"] else whole())
