"""Drift and small edits: tables, figures and sentences from the kept trials and attacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from scipy import stats

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import MUTED, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import bare_rows
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import grouped_by
from eat_lightning.report.table import Table

TASKS = {"sst2": "SST-2", "mnli": "MNLI"}
DELAY = "shifted examples until the alarm: median (lowest to highest)"
ORDERS = "points; 95 % t interval over random orders of one recorded set"
COST = "tokens summed over layers run / all tokens in all layers"
OF_APPLICABLE = "percent of the texts that the goal applies to"


def page(results: Path) -> Section:
    trials = result.read(results / "drift.jsonl")
    attacks = result.read(results / "attack.jsonl")
    whole = Section("robustness", "Drift and small edits")
    whole.add(tables=[*drift_tables(trials), *attack_tables(attacks), transfer_table(attacks)])
    whole.add(figures=[drift_figure(trials), attack_figure(attacks)])
    whole.facts = [*drift_facts(trials), *attack_facts(attacks)]
    return whole


def title_of(task: str) -> str:
    return TASKS.get(task, task)


Trials = list[Result]  # of one stream under one rule, an order each


def groups(trials: Sequence[Result], kind: str) -> list[Trials]:
    """Trials that differ in their order alone; 2 % comes before 10 %."""

    def reading_order(same: Trials) -> tuple[Any, ...]:
        first, pieces = same[0], re.split(r"(\d+)", same[0]["stream"])
        natural = [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]
        return -first["tau"], first["task"] != "sst2", natural, first["run_length"]

    names = ("task", "stream", "tau", "run_length")
    chosen = [trial for trial in trials if trial["kind"] == kind]
    found = grouped_by(chosen, lambda trial: tuple(trial[name] for name in names))
    return sorted(found.values(), key=reading_order)


def known(same: Trials, name: str) -> list[float]:
    return [trial[name] for trial in same if trial[name] is not None]


def mean_of(same: Trials, name: str, factor: float = 1.0) -> float | None:
    return factor * mean(values) if (values := known(same, name)) else None


def delay(same: Trials, name: str = "delay") -> Interval | None:
    values = known(same, name)
    return Interval(median(values), min(values), max(values)) if values else None


def gained(same: Trials) -> Interval | None:
    """Accuracy of the watched stream minus that with open exits, in points."""
    if not known(same, "accuracy_watched"):
        return None
    differences = [100 * (t["accuracy_watched"] - t["accuracy_early"]) for t in same]
    half = stats.t.ppf(0.975, len(same) - 1) * stats.sem(differences)
    return Interval(mean(differences), mean(differences) - half, mean(differences) + half)


def alarm_rate(same: Trials) -> Interval:
    """Alarms in 100,000 examples with their exact 95 % Poisson interval (Garwood 1936)."""
    alarms, examples = sum(known(same, "alarms")), sum(known(same, "num_before"))
    low = stats.chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    high = stats.chi2.ppf(0.975, 2 * alarms + 2) / 2
    return Interval(alarms, float(low), float(high)).times(100_000 / examples)


def moved(same: Trials) -> str:
    """Features that alarms named, most often first."""
    names = sorted(grouped_by(filter(None, (t["feature"] for t in same)), str).items())
    return ", ".join(name for name, _ in sorted(names, key=lambda item: -len(item[1])))


SHIFT = [
    col.word("task", "model of", lambda same: title_of(same[0]["task"])),
    col.word("stream", "shifted to", lambda same: same[0]["stream"]),
]
DELAYS = [
    *SHIFT,
    col.word("found", "found", lambda same: f"{len(known(same, 'delay'))} of {len(same)}"),
    col.interval("delay", "delay", delay, DELAY, digits=0),
    col.word("moved", "feature", moved),
]


def share(name: str, title: str, help: str = "") -> Any:
    return col.number(name, title, lambda same: mean_of(same, name, 100), 1, help)


def cost(name: str, title: str) -> Any:
    return col.number(name, title, lambda same: mean_of(same, name), 3, COST)


FALLBACK = [
    *SHIFT,
    col.number("tau", "tau", lambda same: same[0]["tau"], 1),
    share("accuracy_early", "accuracy, no monitor", "accuracy, percent"),
    share("accuracy_full", "accuracy, full depth", "accuracy, percent"),
    col.interval("gain", "gain of the monitor", gained, ORDERS, sign="+"),
    share(
        "changed_early",
        "changed",
        "answers that differ from the last layer's without monitor, percent",
    ),
    cost("cost_early", "cost, no monitor"),
    cost("cost_watched", "cost, monitor"),
    cost("cost_full", "cost, full depth"),
]
CONTROLS = [
    col.word("task", "model of", lambda same: title_of(same[0]["task"])),
    col.word("stream", "unshifted stream", lambda same: same[0]["stream"]),
    col.word("run_length", "run length", lambda same: f"{same[0]['run_length']:,.0f}"),
    col.word("n", "examples", lambda same: f"{sum(known(same, 'num_before')):,}"),
    col.number("bound", "expected alarms, at most", lambda same: bound(same), 0, "on average"),
    col.number("alarms", "alarms", lambda same: sum(known(same, "alarms")), 0),
    col.interval("rate", "per 100,000", alarm_rate, "exact 95 % Poisson interval", digits=1),
]


def bound(same: Trials) -> float:
    return sum(known(same, "num_before")) / same[0]["run_length"]


def drift_tables(trials: Sequence[Result]) -> list[Table]:
    shifts = groups(trials, "shift")
    strict = [same for same in shifts if same[0]["tau"] == max(t[0]["tau"] for t in shifts)]
    labelled = [same for same in shifts if known(same, "accuracy_early")]
    kinds = (
        ("delays", "Detection delays", DELAYS, strict),
        ("fallback", "Accuracy recovered by full depth", FALLBACK, labelled),
        ("false_alarms", "False alarms", CONTROLS, groups(trials, "control")),
    )
    return [
        col.table(name, title, "", columns, items, None) for name, title, columns, items in kinds
    ]


def drift_facts(trials: Sequence[Result]) -> Iterator[str]:
    back = [t for t in trials if t["kind"] == "recovery" and t["back"] is not None]
    spread = delay(back, "back")
    assert spread is not None
    yield (
        f"When dev came back, all {len(back)} watched streams that were at full depth returned, "
        f"after {spread.low:,.0f} to {spread.high:,.0f} examples (median {spread.value:,.0f}), "
        f"with {sum(known(back, 'again'))} further alarms."
    )


def drift_figure(trials: Sequence[Result]) -> Figure:
    """Examples until the alarm, by stream."""
    shifts = [same for same in groups(trials, "shift") if same[0]["tau"] == 0.9]

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for row, same in enumerate(shifts):
            for i, trial in enumerate(same):
                found = trial["delay"] is not None
                x, y = trial["delay" if found else "num_shifted"], row + 0.08 * (i - 2.5)
                look = {"color": SERIES[1], "markerfacecolor": SERIES[1] if found else "none"}
                ax.plot(x, y, "o", markersize=3.5, **look)
        ax.set(xscale="log", xlabel="shifted examples until the alarm (hollow: no alarm)")
        ax.xaxis.set_major_formatter("{x:,.0f}")
        bare_rows(ax, [f"{title_of(s[0]['task'])}: {s[0]['stream']}" for s in shifts])

    return Figure("drift", "Delays of the drift monitor", "", draw, (6.0, 3.2))


def moved_columns(name: str, title: str, digits: int = 0, factor: int = 100) -> list[Any]:
    """A number before the attack, and after."""

    def value(when: str) -> Any:
        return lambda r: factor * r[f"{name}_{when}"]

    return [
        col.number(f"{name}_before", f"{title}, before", value("before"), digits),
        col.number(f"{name}_after", "after", value("after"), digits),
    ]


def percent_of(name: str) -> Any:
    return lambda r: None if r[name] is None else 100 * r[name]


RULE = col.word("under", "rule")
ATTACK = {
    "slowdown": [
        RULE,
        col.number("reached", "held back (%)", percent_of("reached"), 0, OF_APPLICABLE),
        *moved_columns("exits", "leave early (%)"),
        *moved_columns("depth", "depth", 2, 1),
        *moved_columns("flops", "FLOPs", 2, 1),
        col.number("flops_p99", "FLOPs, p99 after", "flops_p99_after", 2),
        *moved_columns("accuracy", "accuracy (%)"),
    ],
    "evasion": [
        RULE,
        col.number("reached", "wrong and early (%)", percent_of("reached"), 0, OF_APPLICABLE),
        *moved_columns("accuracy", "accuracy (%)"),
        *moved_columns("exits", "leave early (%)"),
        *moved_columns("flops", "FLOPs", 2, 1),
    ],
}
TRANSFER = [
    col.word("task", "model of", lambda r: title_of(r["task"])),
    col.word("against", "attacked rule"),
    RULE,
    col.number("reached", "held back (%)", percent_of("reached"), 0, OF_APPLICABLE),
]


def is_own(r: Result) -> bool:
    return r["against"] == r["under"]


def attack_tables(attacks: Sequence[Result]) -> list[Table]:
    """For each task and goal every rule under the attack that was made on it."""
    found = grouped_by(filter(is_own, attacks), lambda r: (r["goal"], r["task"]))
    return [
        col.table(
            f"{goal}-{task}", f"{goal.capitalize()}, {title_of(task)}", "", ATTACK[goal], same, None
        )
        for (goal, task), same in found.items()
    ]


def transfer_table(attacks: Sequence[Result]) -> Table:
    slow = [r for r in attacks if r["goal"] == "slowdown" and r["reached"] is not None]
    others = [r for r in slow if not is_own(r)]
    return col.table("transfer", "Slowdown of other rules", "", TRANSFER, others, None)


def attack_facts(attacks: Sequence[Result]) -> Iterator[str]:
    own = [r for r in attacks if is_own(r)]
    slow = [r for r in own if (r["task"], r["goal"]) == ("sst2", "slowdown")]
    held, edits = [100 * r["reached"] for r in slow], [r["edits"] for r in slow]
    bounds = {title_of(r["task"]): r for r in own}
    yield f"{min(held):.0f} to {max(held):.0f} % are held back, by {min(edits):.1f} to "
    yield f"{max(edits):.1f} words on average"
    costliest = max(r["flops_worst"] for r in own)
    limits = ", ".join(f"{r['flops_bound']:.1f} on {name}" for name, r in bounds.items())
    longest = max(r["flops_max_after"] for r in own)
    yield (
        f"No text can cost more than {limits} times the mean text's whole encoder; the costliest "
        f"that was tried cost {costliest:.1f} times, and no edited text cost more than "
        f"{longest:.1f} times the whole encoder on its original."
    )
    never = next(r for r in own if (r["task"], r["under"]) == ("sst2", "never"))
    yield f"{never['flops_before']:.2f} FLOPs at full depth"


def attack_figure(attacks: Sequence[Result]) -> Figure:
    """SST-2: what each rule's attack does to cost and accuracy, from before to after."""
    own = [r for r in attacks if is_own(r) and r["task"] == "sst2"]
    rules = list(dict.fromkeys(r["under"] for r in own))
    panels = {"flops": "FLOPs, of the whole encoder", "accuracy": "accuracy"}

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(1, 2, sharey=True)
        for ax, (name, title) in zip(axes, panels.items(), strict=True):
            for k, goal in enumerate(("slowdown", "evasion")):
                for r in own:
                    if r["goal"] == goal:
                        y = rules.index(r["under"]) + 0.3 * (k - 0.5)
                        arrow(ax, r[f"{name}_before"], r[f"{name}_after"], y, SERIES[k])
                ax.plot([], [], "o", color=SERIES[k], label=f"after {goal}")
            ax.plot([], [], "o", color=MUTED, markerfacecolor="none", label="before")
            bare_rows(ax, rules)
            ax.set_xlabel(title)
        axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handlelength=1.0)

    return Figure("attack", "Cost and accuracy before and after attacks", "", draw, (8.0, 3.2))


def arrow(ax: Any, before: float, after: float, y: float, color: str) -> None:
    ax.plot([before, after], [y, y], color=color, linewidth=1)
    ax.plot(before, y, "o", color=color, markersize=4, markerfacecolor="none")
    ax.plot(after, y, "o", color=color, markersize=4)
