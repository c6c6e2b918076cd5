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

ROWS = Path(__file__).with_name("results") / "chosen.jsonl"
NAMES = {
    "sst2": "SST-2, sentences",
    "qqp": "QQP, pairs",
    "mnli": "MNLI, pairs",
    "mails": "mails, phishing",
    "messages": "short messages, spam",
    "banking77": "BANKING77, 77 intents",
    "goemotions": "GoEmotions, 28 labels",
    "stsb": "STS-B, a score",
}
FRONT = ("sst2", "qqp", "mnli", "banking77", "goemotions", "stsb")  # README's, if they are kept
MOST = 5  # of these
GAIN = 1.05  # times as fast: below it, exits are said to win nothing


def rows() -> list[ChosenRow]:
    """Read the kept rows, deeper classifiers of a task first."""
    found = jsonl.read(ROWS, ChosenRow)
    return sorted(found, key=lambda row: (list(NAMES).index(row.task), -layers(row)))


def layers(row: ChosenRow) -> int:
    return int(row.model.split(", ")[1].split()[0])


def times(row: ChosenRow, against: TimedForm | None, against_many: TimedForm | None) -> str:
    """How many times as fast as others what was chosen is, 1 and 32 at once."""
    if against is None or against_many is None:
        return "none holds"
    return f"{against.one / row.chosen.one:.1f}, {against_many.many / row.chosen_many.many:.1f}"


def where_not(row: ChosenRow) -> str:
    """Say where exits win nothing over a static engine, from the row alone."""
    one = row.static is None or row.static.one / row.chosen.one >= GAIN
    many = row.static_many is None or row.static_many.many / row.chosen_many.many >= GAIN
    match one, many:
        case True, True:
            return ""
        case True, False:
            return f"32 at once: {row.chosen_many.name} is the fastest"
        case False, True:
            return f"1 at once: {row.chosen.name} is the fastest"
    return "exits win nothing"


def front() -> str:
    """Make README's table."""
    head = (
        "| classifier, layers | answers that stay | times Hugging Face | "
        "times the fastest static engine | where exits do not pay |\n|---|---:|---:|---:|---|"
    )
    chosen = [row for row in rows() if row.task in FRONT][:MOST]
    lines = [
        f"| {NAMES[row.task]}, {layers(row)} | {100 * row.agree:.0f} % | "
        f"{times(row, row.original, row.original)} | {times(row, row.static, row.static_many)} | "
        f"{where_not(row)} |"
        for row in chosen
    ]
    return "\n".join([head, *lines])


def whole() -> str:
    """Make the table of all classifiers."""
    head = (
        "| classifier | promise | certificate | fresh texts changed | transformers, ms | "
        "fastest static, ms | chosen, ms | times HF | times static | minutes |\n"
        "|---|---|---|---|---|---|---|---|---|---:|"
    )
    return "\n".join([head, *(line(row) for row in rows())])


def line(row: ChosenRow) -> str:
    low, high = row.fresh_percent
    changed = f"{row.fresh_changed} of {row.num_fresh:,} ({low:.2f} to {high:.2f} %)"
    cells = (
        f"{NAMES[row.task]}; {row.model}",
        f"{100 * row.agree:.0f} % at {100 * row.confidence:.0f} %",
        f"{row.certified_changed} of {row.num_certify:,}",
        changed,
        f"{row.original.one:.2f}, {row.original.many:.2f}",
        both(row.static, row.static_many),
        both(row.chosen, row.chosen_many),
        times(row, row.original, row.original),
        times(row, row.static, row.static_many),
        "" if row.minutes is None else f"{row.minutes:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def both(one: TimedForm | None, many: TimedForm | None) -> str:
    """Name what is the fastest 1 and 32 at once, with its time."""
    if one is None or many is None:
        return "none holds"
    if one.name == many.name:
        return f"{one.name}: {one.one:.2f}, {one.many:.2f}"
    return f"{one.name}: {one.one:.2f}; {many.name}: {many.many:.2f}"


if __name__ == "__main__":
    print(front() if sys.argv[1:] == ["front"] else whole())
