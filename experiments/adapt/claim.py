"""Does `eat adapt` keep its guarantee, and how fast is what it makes?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.cells import interval, number
from eat_lightning.report.claim import Claim
from eat_lightning.report.columns import getter, shown
from eat_lightning.report.figures import INK, MUTED, PAPER, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.report.table import Cell, Column, Table
from experiments.adapt.adaptations import TASKS, Adaptation, adaptations, exact, newest

FRONT = 5  # classifiers of README's table
GAIN = 1.05  # times as fast: below it exits are said to bring nothing
YARDSTICK = (  # of `experiments/pays`
    "Two full models that differ in their seed alone agree on 96.3 to 97.0 % of SST-2, on 94.7 % "
    "of QQP and on 91.9 % of MNLI."
)


def page(results: Path) -> Claim:
    found = adaptations(results)
    redraws = result.read(results / "redraws.jsonl")
    pretrained = [each for each in found if each.is_pretrained]
    one = [each for each in pretrained if each.batch == 1]
    many = [each for each in pretrained if each.batch != 1]
    random = [each for each in found if not each.is_pretrained]
    tables = [
        table("front", "By `eat adapt`, one text at a time", FRONT_COLUMNS, newest(one)[:FRONT]),
        table("speed", "One text at a time", ABOUT + SPEED, one),
        table("held", "Answers that change", ABOUT + HELD, one),
        table("batches", "32 texts at once", ABOUT + SPEED + HELD, many),
        table("random", "Small shapes, from random weights", ABOUT + BATCH + SPEED + HELD, random),
        candidates_table([each for each in one if each.layers == 12]),
        table("redraws", "The parts drawn anew", REDRAWS, redraws),
        table("originals", "Originals", ORIGINALS, result.read(results / "originals.jsonl")),
    ]
    claim = Claim("adapt", "eat adapt", answers(found, redraws))
    claim.add(tables=tables, figures=[over_static(found)])
    claim.facts = [YARDSTICK, *facts(found)]
    return claim


def table(name: str, title: str, columns: Sequence[Column], items: Sequence[Any]) -> Table:
    return col.table(name, title, "", columns, items, None)


def answers(found: Sequence[Adaptation], redraws: Sequence[Result]) -> list[str]:
    kept = sum(each.fresh.value <= 1 - each.row["agree"] for each in found)
    draws, broken = (sum(row[name] for row in redraws) for name in ("draws", "broken"))
    return [
        f"{kept} of {len(found)} adaptations change no more of the fresh texts than they may.",
        f"{broken} of {draws} redrawn certificates were broken.",
    ]


def facts(found: Sequence[Adaptation]) -> list[str]:
    """What is slower per text in batches, and how far exits are ahead of static engines."""
    padded = [each.title for each in found if each.batch != 1 and is_padded(each, found)]
    ahead = {
        batch: [each for each in found if each.batch == batch and gain(each) >= times]
        for batch, times in ((1, 1.5), (32, 1.3))
    }
    counts = [f"{batch} at once: {len(some)}" for batch, some in ahead.items()]
    return [f"transformers is slower per text in batches of 32 on {len(padded)} rows", *counts]


def is_padded(many: Adaptation, found: Sequence[Adaptation]) -> bool:
    """True where transformers takes longer for a text of a batch than for one alone."""
    alike = (e for e in found if (e.title, e.processor) == (many.title, many.processor))
    alone = [e.original.ms for e in alike if e.batch == 1 and e.original.ms]
    return bool(alone) and (many.original.ms or 0.0) > min(alone)


def gain(found: Adaptation) -> float:
    return 0.0 if found.times_static is None else found.times_static.value


def times(found: Interval | None) -> Cell:
    """ "3.6 (3.3 to 3.9)", without brackets where there is no interval."""
    if found is None or found.low == found.high:
        return number(found and found.value, 1)
    return interval(found, 1)


def note(found: Adaptation) -> str:
    """Where exits do not pay, from the row alone."""
    if found.static is None:
        return "no static engine holds"
    if found.static == found.chosen:
        return f"no exits were chosen, but {found.chosen.name}"
    if gain(found) < GAIN:
        return f"exits bring no measurable gain over {found.static.name}"
    return "" if found.row["agree"] >= 0.99 else f"only {found.agree} was tried"


def certified(found: Adaptation) -> str:
    count = found.count
    return f"{count.changed} of {count.num:,} ({count.allowed} may)"


ABOUT = [
    col.word("classifier", "classifier", "title"),
    col.word("processor", "processor"),
    col.word("agree", "answers that stay", help="certified with 95 % confidence"),
]
BATCH = [col.count("batch", "texts at once")]
TIMES = [
    shown("hf", "times Hugging Face", "times_original", cell=times),
    shown("static_times", "times the fastest static engine", "times_static", cell=times),
]
SPEED = [
    col.number("original", "transformers, ms", "original.ms"),
    col.word("static", "fastest static engine, ms", "static.text"),
    col.word("chosen", "adapted, ms", "chosen.text"),
    *TIMES,
    col.number("minutes", "minutes", "row.minutes", 1),
]
HELD = [
    col.word("certificate", "changed, certificate", certified),
    col.percent("fresh", "changed, fresh texts (%)", digits=2),
]
FRONT_COLUMNS = [*ABOUT, *TIMES, col.word("note", "note", note)]


def task_of(row: Result) -> str:
    return f"{TASKS[row['task']]}; {row['model']}"


def shares(name: str) -> Any:
    """A cell's text of a candidate's counts: "12 of 3,332 (23 may)"."""

    def text(item: Any) -> str:
        counts = getter(f"candidate.{name}")(item)
        if counts is None:
            return ""
        most = "" if counts["allowed"] is None else f" ({counts['allowed']} may)"
        return f"{counts['changed']} of {counts['num']:,}{most}"

    return text


CANDIDATES = [
    col.word("classifier", "classifier", "of.title"),
    col.word("name", "candidate", "candidate.name"),
    col.number("ms", "ms", "candidate.ms"),
    shown("hf", "times Hugging Face", "candidate.speed_up", cell=times),
    col.word("selected", "changed, choosing", shares("selected")),
    col.word("tested", "changed, certificate", shares("tested")),
    col.word("fault", "fault", "candidate.fault"),
]


def candidates_table(found: Sequence[Adaptation]) -> Table:
    """All candidates of some adaptations; older rows have three at most."""
    lines = [{"of": each, "candidate": one} for each in found for one in each.candidates]
    return table("candidates", "All candidates", CANDIDATES, lines)


REDRAWS = [
    col.word("task", "classifier", task_of),
    col.word("promise", "may change", lambda row: f"{100 * (1 - row['agree']):.0f} %"),
    col.word("changes", "what changes"),
    col.count("certify", "texts of the certificate", "num_certify"),
    col.word("draws", "certified", lambda row: f"{row['certified']} of {row['draws']}"),
    col.count("exits", "with exits", "with_exits"),
    col.count("broken", "broken"),
    col.number("depth", "layers, mean"),
    col.interval("fresh", "changed, unseen texts of the first draw (%)", "fresh_percent"),
]
ORIGINALS = [
    col.word("task", "classifier", task_of),
    col.count("steps", "steps of 32"),
    col.number("mb", "delta, MB", digits=1),
    col.percent("accuracy", "accuracy, validation (%)", lambda r: exact(r["right"], r["num"])),
]


LOOKS: dict[bool, dict[str, Any]] = {  # of one text at once, and of 32
    True: {"color": SERIES[1], "marker": "o"},
    False: {"color": SERIES[0], "marker": "s"},
}


def over_static(found: Sequence[Adaptation]) -> Figure:
    """A line for each classifier, with a mark for one text and one for 32 at once."""
    some = newest(found)
    names = [*dict.fromkeys((each.title, each.is_pretrained) for each in some)]
    places = {title: len(names) - 1 - i for i, (title, _) in enumerate(names)}

    def draw(drawing: Any) -> None:
        axes = drawing.subplots()
        axes.axvline(1, color=MUTED, linestyle="--")
        for each in some:
            y, at = places[each.title] + (0.16 if each.batch == 1 else -0.16), gain(each)
            look = LOOKS[each.batch == 1]
            hollow = {} if each.is_pretrained else {"markerfacecolor": PAPER}
            axes.plot([1, at], [y, y], color=look["color"], linewidth=1)
            axes.plot([at], [y], linestyle="", **look, **hollow)
            beside: dict[str, Any] = {"textcoords": "offset points", "size": 6.5}
            axes.annotate(f"{at:.1f}", (at, y), (5, -2.5), **beside)
        shown = [title + ("" if is_real else " *") for title, is_real in names]
        axes.set_yticks([*places.values()], shown)
        axes.set(xlabel="times as fast as the fastest static engine", xlim=(0.5, None))
        for label, is_one in (("one text", True), ("32 at once", False)):
            axes.plot([], [], linestyle="", label=label, **LOOKS[is_one])
        axes.plot([], [], "o", color=INK, markerfacecolor=PAPER, label="* small, random weights")
        axes.legend(loc="lower right")

    caption = "Right of the dashed line exits are faster. Hollow: small models from random weights."
    title = "Adapted classifiers beside the fastest static engine"
    return Figure("over-static", title, caption, draw, (6.4, 4.6))
