"""Does `eat adapt` keep its guarantee, and how fast is what it makes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.cells import interval, number
from eat_lightning.report.figures import INK, MUTED, PAPER, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.table import Cell, Column, Table
from experiments.adapt.adaptations import PRETRAINED, TASKS, Adaptation, adaptations, exact, short
from experiments.adapt.copies import CHANGES

LOOKS: dict[int, dict[str, Any]] = {  # by the number of texts at once
    1: {"color": SERIES[1], "marker": "o"},
    32: {"color": SERIES[0], "marker": "s"},
}
AIMS = {0.99: 1.2, 0.98: 1.5}  # speed-ups over the fastest without exits, by level
YARDSTICK = (  # of `experiments/pays`
    "Two full models that differ in their seed alone agree on 96.3 to 97.0 % of SST-2, on 94.7 % "
    "of QQP and on 91.9 % of MNLI."
)


def page(results: Path) -> Section:
    found = adaptations(results)
    names = ("redraws", "originals", "levels", "field", "rounding", "copies")
    redraws, originals, levels, field, rounding, copies = (
        result.read(results / f"{name}.jsonl") for name in names
    )
    one = [each for each in found if each.is_pretrained and each.batch == 1]
    many = [each for each in found if each.is_pretrained and each.batch != 1]
    random = [each for each in found if not each.is_pretrained]
    deep = [each for each in one if each.layers == 12]
    candidates = [{"of": each, "candidate": c} for each in deep for c in each.candidates]
    claim = Section("adapt", "eat adapt", answers(found, redraws))
    claim.tables = [
        table("speed", "One text at a time", ABOUT + SPEED, one),
        table("levels", "By level of agreement", LEVELS, by_classifier(levels, batch=1)),
        table("level-batches", "The same in batches", LEVELS, by_classifier(levels, batch=32)),
        table("draws", "Several draws of the texts", DRAWS, drawn_again(levels)),
        table("field", "int8 of other tools", FIELD, [*field_lines(field)]),
        table("rounding", "int8 with factors of inputs", ROUNDING, rounding),
        table("copies", "Exits that learn from altered copies", COPIES, by_copies(copies)),
        table("held", "Changed answers", ABOUT + HELD, one),
        table("batches", "Batches of 32", ABOUT + SPEED + HELD, many),
        table("random", "Small models from random weights", ABOUT + BATCH + SPEED + HELD, random),
        table("candidates", "All candidates", CANDIDATES, candidates),
        table("redraws", "Redrawn certificates", REDRAWS, redraws),
        table("originals", "Stored originals", ORIGINALS, originals),
    ]
    claim.figures = [over_static(newest(found))]
    claim.facts = [YARDSTICK, *facts(found), *level_facts(levels)]
    return claim


def table(name: str, title: str, columns: Sequence[Column], items: Sequence[Any]) -> Table:
    return col.table(name, title, "", columns, items, None)


def newest(found: Sequence[Adaptation]) -> list[Adaptation]:
    """Of each classifier and number of texts at once the row that was measured last."""
    return [*{(each.title, each.batch): each for each in found}.values()]


def answers(found: Sequence[Adaptation], redraws: Sequence[Result]) -> list[str]:
    kept = sum(each.fresh.value <= 1 - each.row["agree"] for each in found)
    draws, broken = (sum(row[name] for row in redraws) for name in ("draws", "broken"))
    return [
        f"{kept} of {len(found)} adaptations change no more answers to unseen texts than allowed.",
        f"{broken} of {draws} redrawn certificates were broken.",
    ]


def facts(found: Sequence[Adaptation]) -> list[str]:
    """How many are far ahead of static engines, and of which transformers pads so much that a text
    of a batch takes longer than one alone."""
    ahead = [
        sum(gain(e) >= least for e in found if e.batch == n) for n, least in ((1, 1.5), (32, 1.3))
    ]
    alone = {(e.title, e.processor): e.original.ms or 0.0 for e in found if e.batch == 1}
    known = [e for e in found if e.batch != 1 and (e.title, e.processor) in alone]
    padded = [e for e in known if (e.original.ms or 0.0) > alone[e.title, e.processor]]
    return [
        f"slower per text in batches: {len(padded)} of {len(known)}",
        f"1.5 times one at once: {ahead[0]}; 1.3 times 32 at once: {ahead[1]}",
    ]


def level_facts(levels: Sequence[Result]) -> Iterator[str]:
    """How many classifiers reach what was aimed at over the fastest candidate without exits."""
    rows = by_classifier(levels, batch=1)
    for processor in processors(rows):
        for agree, least in AIMS.items():
            here = {"agree": agree, "processor": processor}
            found = [row for row in rows if here.items() <= row.what.items()]
            ahead = sum(row["times_rival"].value >= least for row in found)
            many = f"{ahead} of {len(found)} classifiers reach {least} times"
            yield f"at {100 * agree:g} % on the {short(processor)}, {many}"


def processors(rows: Sequence[Result]) -> list[str]:
    """Processors of rows, in the order in which they were first used."""
    return [*dict.fromkeys(row["processor"] for row in rows)]


def gain(found: Adaptation) -> float:
    return 0.0 if found.times_static is None else found.times_static.value


def times(found: Interval | None, digits: int = 1) -> Cell:
    """ "3.6 (3.3 to 3.9)", without brackets where there is no interval."""
    if found is None or found.low == found.high:
        return number(found and found.value, digits)
    return interval(found, digits)


closely = partial(times, digits=2)  # where a target is near


def certified(found: Adaptation) -> str:
    count = found.count
    return f"{count.changed} of {count.num:,} ({count.allowed} allowed)"


def counted(name: str) -> Any:
    """The text of a candidate's counts: "12 of 3,332 (23 may)"."""

    def text(line: dict[str, Any]) -> str:
        counts = getattr(line["candidate"], name)
        if counts is None:
            return ""
        most = "" if counts["allowed"] is None else f" ({counts['allowed']} allowed)"
        return f"{counts['changed']} of {counts['num']:,}{most}"

    return text


def by_copies(rows: Sequence[Result]) -> list[Result]:
    names = [*TASKS]
    return sorted(
        rows,
        key=lambda row: (
            -layers_of(row),
            names.index(row["task"]),
            row["copies"],
            row["epochs"],
            row["width"],
            row["rate"],
        ),
    )


def by_classifier(rows: Sequence[Result], batch: int) -> list[Result]:
    """Rows of a batch size and of the first draw of the texts, the deepest classifiers first, each
    on one processor after the other and from strict to lax."""
    names, machines = [*TASKS], processors(rows)

    def place(row: Result) -> tuple[float, ...]:
        where = names.index(row["task"]), machines.index(row["processor"])
        return -layers_of(row), *where, -row["agree"]

    return sorted((row for row in rows if row["batch"] == batch and row["draw"] == 1), key=place)


def drawn_again(rows: Sequence[Result]) -> list[Result]:
    """All draws of the settings that were adapted to several, one setting after the other."""

    def setting(row: Result) -> tuple[Any, ...]:
        return tuple(row.what[name] for name in row.what if name != "draw")

    several = {setting(row) for row in rows if row["draw"] != 1}
    found = [row for row in rows if setting(row) in several]
    return sorted(found, key=lambda row: (repr(setting(row)), row["draw"]))


def layers_of(row: Result) -> int:
    """How many layers a classifier has, of "mpnet, 12 layers of 768"."""
    return int(row["model"].split(", ")[1].split()[0])


def field_lines(rows: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """A line for each form: what is known of its classifier, and of itself."""
    for row in rows:
        for form in row["forms"]:
            yield {"of": row, **form, "times_ours": Interval(**form["times_ours"])}


def task_of(row: Result) -> str:
    return f"{TASKS[row['task']]}; {row['model'] or row['body']}"


def title_of(row: Result) -> str:
    """ "SST-2, phrases; MPNet, 12 layers", as other tables name it."""
    family = row["model"].split(", ")[0]
    return f"{TASKS[row['task']]}; {PRETRAINED.get(family, family)}, {layers_of(row)} layers"


def percent_of(name: str) -> Any:
    return lambda row: 100 * row[name]


ABOUT = [
    col.word("classifier", "classifier", "title"),
    col.word("processor", "processor"),
    col.word("agree", "unchanged answers", help="certified with 95 % confidence"),
]
BATCH = [col.count("batch", "batch size")]
TIMES = [
    col.shown("hf", "speed-up over transformers", "times_original", cell=times),
    col.shown("static_times", "speed-up over fastest static engine", "times_static", cell=times),
]
SPEED = [
    col.number("original", "transformers, ms", "original.ms"),
    col.word("static", "fastest static engine, ms", "static.text"),
    col.word("chosen", "adapted, ms", "chosen.text"),
    *TIMES,
    col.number("minutes", "minutes", "row.minutes", 1),
]
HELD = [
    col.word("certificate", "changed (certificate)", certified),
    col.percent("fresh", "changed (unseen texts, %)", digits=2),
]
CANDIDATES = [
    col.word("classifier", "classifier", "of.title"),
    col.word("name", "candidate", "candidate.name"),
    col.number("ms", "ms", "candidate.ms"),
    col.shown("hf", "speed-up over transformers", "candidate.speed_up", cell=times),
    col.word("selected", "changed (selection)", counted("selected")),
    col.word("tested", "changed (certificate)", counted("tested")),
    col.word("error", "error", "candidate.fault"),
]
LEVELS = [
    col.word("classifier", "classifier", title_of),
    col.word("processor", "processor", lambda row: short(row["processor"])),
    col.count("batch", "batch size"),
    col.word("agree", "unchanged answers", lambda row: f"{100 * row['agree']:g} %"),
    col.word("chosen", "adapted", "name"),
    col.number("ms", "ms"),
    col.number("p50", "median, ms"),
    col.number("p90", "90th percentile, ms"),
    col.number("p99", "99th percentile, ms"),
    col.shown("hf", "speed-up over transformers", "times_original", cell=times),
    col.word(
        "rival", "fastest without exits", lambda row: f"{row['rival']}: {row['rival_ms']:.2f}"
    ),
    col.shown("gain", "speed-up over it", "times_rival", cell=closely),
    col.number("layers", "layers (%)", lambda row: 100 * row["layers"], 1),
    col.number("time", "time (%)", lambda row: 100 * row["ms"] / row["rival_ms"], 1),
    col.word("changed", "changed (certificate)", lambda r: f"{r['tested']} of {r['num']:,}"),
    col.number("minutes", "minutes", digits=1),
]
DRAWS = [
    *LEVELS[:4],
    col.count("draw", "draw"),
    col.number("ms", "ms"),
    col.shown("hf", "speed-up over transformers", "times_original", cell=times),
    col.shown("gain", "speed-up over the fastest without exits", "times_rival", cell=closely),
    col.number("layers", "layers (%)", lambda row: 100 * row["layers"], 1),
    col.number("time", "time (%)", lambda row: 100 * row["ms"] / row["rival_ms"], 1),
    col.word("changed", "changed (certificate)", lambda r: f"{r['tested']} of {r['num']:,}"),
    col.number("minutes", "minutes", digits=1),
]
FIELD = [
    col.word("classifier", "classifier", lambda line: title_of(line["of"])),
    col.word("processor", "processor", lambda line: line["of"]["processor"]),
    col.word("name", "form, all layers", lambda line: line["name"]),
    col.number("ms", "ms", lambda line: line["ms"]),
    col.shown(
        "over", "speed-up over our fastest int8", lambda line: line["times_ours"], cell=times
    ),
    col.word("changed", "changed", lambda line: f"{line['changed']} of {line['of']['num']:,}"),
    col.count("again", "without the 2 % least sure", lambda line: line["changed_again"]),
]
ROUNDING = [
    col.word("classifier", "classifier", title_of),
    col.number("error_without", "error of logits without factors (%)", percent_of("error_without")),
    col.number("error_with", "error with factors (%)", percent_of("error_with")),
    col.count("without", "changed without factors"),
    col.count("with", "changed with factors"),
    col.count("num", "texts"),
]
COPIES = [
    col.word("classifier", "classifier", title_of),
    col.count("texts", "texts for learning"),
    col.count("copies", "copies of each"),
    col.count("epochs", "epochs"),
    col.word("rate", "learning rate", lambda row: f"{row['rate']:g}"),
    col.count("width", "width of heads"),
    *(
        col.number(f"{name}_{most:g}", f"{what} (%)", percent_of(f"{name}_{most:g}"))
        for most in CHANGES
        for name, what in (
            ("layers", f"layers at {100 * most:g} %"),
            ("changed", f"changed at {100 * most:g} %"),
        )
    ),
    col.count("num", "unseen texts"),
]
REDRAWS = [
    col.word("task", "classifier", task_of),
    col.word("promise", "allowed changes", lambda row: f"{100 * (1 - row['agree']):.0f} %"),
    col.word("changes", "what changes"),
    col.count("certify", "certificate texts", "num_certify"),
    col.word("draws", "certified", lambda row: f"{row['certified']} of {row['draws']}"),
    col.count("exits", "with exits", "with_exits"),
    col.count("broken", "broken"),
    col.number("depth", "mean layers"),
]
ORIGINALS = [
    col.word("task", "classifier", task_of),
    col.count("steps", "steps (batch 32)"),
    col.number("mb", "delta, MB", digits=1),
    col.percent("accuracy", "validation accuracy (%)", lambda r: exact(r["right"], r["num"])),
]


def over_static(found: Sequence[Adaptation]) -> Figure:
    """A line for each classifier, with a mark for one text and one for 32 at once."""
    names = dict.fromkeys((each.title, "" if each.is_pretrained else " *") for each in found)
    places = {title: -place for place, (title, _) in enumerate(names)}

    def draw(drawing: Any) -> None:
        axes = drawing.subplots()
        axes.axvline(1, color=MUTED, linestyle="--")
        for each in found:
            y, at = places[each.title] + (0.16 if each.batch == 1 else -0.16), gain(each)
            look = LOOKS[each.batch]
            hollow = {} if each.is_pretrained else {"markerfacecolor": PAPER}
            axes.plot([1, at], [y, y], color=look["color"], linewidth=1)
            axes.plot([at], [y], linestyle="", **look, **hollow)
            beside: dict[str, Any] = {"textcoords": "offset points", "size": 6.5}
            axes.annotate(f"{at:.1f}", (at, y), (5, -2.5), **beside)
        axes.set_yticks([*places.values()], [title + star for title, star in names])
        axes.set(xlabel="times as fast as the fastest static engine", xlim=(0.5, None))
        for label, num in (("one text", 1), ("32 at once", 32)):
            axes.plot([], [], linestyle="", label=label, **LOOKS[num])
        axes.plot([], [], "o", color=INK, markerfacecolor=PAPER, label="* small, random weights")
        axes.legend(loc="lower right")

    title = "Adapted classifiers against the fastest static engine"
    return Figure("over-static", title, "", draw, (6.4, 4.6))
