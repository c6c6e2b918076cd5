"""What does a certificate promise, and what do policies cost?

`claim` makes the policies' table of a user's own runs, which need rows with and without policies:
python -m eat_lightning.measure run=... policy=[...].
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eat_lightning.model.specification import Specification
from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import MUTED, SERIES, Figure
from eat_lightning.report.panels import dot, in_panels
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import KeptRow, Study, open_study
from eat_lightning.report.table import Table
from eat_lightning.runs.row import label

TASKS = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}
COLORS = {"certified": SERIES[1], "by eye": SERIES[0]}
YARDSTICK = (  # of `experiments/pays`
    "Two full models that differ in their seed alone agree on 96.3 to 97.0 % of SST-2, on 94.7 % "
    "of QQP and on 91.9 % of MNLI."
)


def page(results: Path) -> Section:
    draws = sorted(result.read(results / "draws.jsonl"), key=lambda r: [*TASKS].index(r["task"]))
    study = open_study([str(results / "policies.jsonl")])
    found = policies(study)
    short = [row for row in draws if row["level"] == 0.01]
    claim = Section("guarantees", "Certificates and policies", answers(draws))
    claim.add(
        tables=[
            col.table("draws", "Redrawn certificates", "", DRAWS, short, None),
            col.table("levels", "At both levels", "", DRAWS, draws, None),
            costs(found),
        ],
        figures=[broken_over_size(short)],
        notes=["Shares of draws have exact 95 % intervals."],
    )
    claim.facts = [YARDSTICK, *facts(found)]
    return claim


def answers(draws: Sequence[Result]) -> list[str]:
    """The range of how often each way is broken."""
    found = []
    for way in COLORS:
        shares = [100 * row["broken_share"].value for row in draws if row["way"] == way]
        found.append(f"{way}: broken in {min(shares):.1f} to {max(shares):.1f} % of draws")
    confidence = draws[0]["confidence"]
    return [*found, f"allowed: {100 * (1 - confidence):.0f} %, confidence {100 * confidence:.0f} %"]


DRAWS = [
    col.word("task", "population", lambda r: f"{TASKS[r['task']]}, {r['population']:,} pairs"),
    col.number("level", "level (%)", lambda row: 100 * row["level"], 0),
    col.count("num", "calibration examples"),
    col.word("way", "threshold"),
    col.percent("broken", "broken (%)", "broken_share"),
    col.number("changed", "answers changed (%)", lambda row: 100 * row["changed"]),
    col.number("depth", "layers of 12"),
    col.number("best", "layers at the best threshold", "best_depth"),
]


def broken_over_size(draws: Sequence[Result]) -> Figure:
    """A panel for each population, a line for each way."""

    def draw(axes: Any, task: str) -> None:
        axes.axhline(100 * (1 - draws[0]["confidence"]), color=MUTED, linestyle="--")
        for way, color in COLORS.items():
            some = [r for r in draws if (r["task"], r["way"]) == (task, way)]
            shares = [row["broken_share"].times(100) for row in some]
            axes.plot(range(len(some)), [each.value for each in shares], color=color, label=way)
            for place, share in enumerate(shares):
                dot(axes, place, share, color=color, marker="o")
        axes.set_xticks(range(len(some)), [row["num"] for row in some])
        axes.set(title=TASKS[task], ylim=(-2, 70))

    def finish(drawing: Any, axes: list[Any], made: list[Any]) -> None:
        axes[1].legend(loc="upper right")

    labels = "calibration examples", "broken (% of draws)"
    size, title = (2.8, 2.2), "How often a guarantee is broken"
    panels = [*dict.fromkeys(row["task"] for row in draws)]
    return in_panels("broken-over-size", title, "", panels, draw, labels, size, finish)


def policies_of(m: KeptRow) -> str:
    return " + ".join(map(policy_text, m.row.policy))


def policy_text(policy: Specification) -> str:
    """ "veto margin 0.9 run model=eat seed=1": its kind, and the settings that are given."""
    words = [policy.kind]
    for key, value in policy.arguments.items():
        if isinstance(value, dict):
            words += [f"{name} {one}" for name, one in value.items()]
        elif value not in (None, []) and not isinstance(value, bool):
            words.append(f"{key} {Path(str(value)).name.replace(',', ' ')}")
    return " ".join(words)


def in_short(m: KeptRow) -> str:
    """Policies without the name of a second run."""
    return re.sub(r" run .*", ", by a second run", policies_of(m)) or "none"


@dataclass(frozen=True)
class Policy:
    """A policy over an exit rule, beside the rule alone."""

    measured: KeptRow
    alone: KeptRow

    @property
    def more(self) -> float:
        return self.measured.row.flops_ratio - self.alone.row.flops_ratio

    @property
    def won(self) -> int:
        """Right answers more than the rule alone has."""
        pair = self.measured.row, self.alone.row
        with_it, without = (round(row.score * row.num_examples) for row in pair)
        return with_it - without


def policies(study: Study) -> list[Policy]:
    """All policies whose rule was measured alone too, by task, cheaper ones first."""
    some = [m for m in study.measured if not m.row.baseline and m.row.exit_reasons]
    alone = {(m.run, str(m.row.exit)): m for m in some if not m.row.policy}
    pairs = [(m, alone.get((m.run, str(m.row.exit)))) for m in some]
    found = [Policy(m, beside) for m, beside in pairs if beside is not None]
    return sorted(found, key=lambda p: (study.tasks.index(p.alone.row.task), p.more))


COSTS = [
    col.word("task", "task", lambda p: TASKS.get(p.alone.row.task, p.alone.row.task)),
    col.word("rule", "exit rule", lambda p: label(p.alone.row.exit)),
    col.word("policy", "policy", lambda p: in_short(p.measured)),
    col.number("depth", "layers", "measured.row.depth"),
    col.number("flops", "FLOPs", "measured.row.flops_ratio", 3),
    col.number("more", "extra FLOPs", digits=3),
    col.number("accuracy", "accuracy", lambda p: 100 * p.measured.row.score),
    col.word("won", "extra correct answers", lambda p: f"{p.won:+d}"),
]


def costs(found: Sequence[Policy]) -> Table:
    return col.table("policies", "Policies over exit rules", "", COSTS, found, None)


def facts(found: Sequence[Policy]) -> list[str]:
    """How unlikely the most that any policy wins is by chance, at the least."""
    most = max(policy.won for policy in found)
    return [f"a net {most} answers: McNemar's p is at least {2.0 ** (1 - most):.4f}"]


def claim(study: Study) -> Section:
    """The table of a user's runs."""
    whole = Section("policies", "Policies over exit rules")
    whole.add(tables=[costs(policies(study))])
    return whole.or_lacking(
        "no row of a policy and of its exit rule alone: eat measure run=... policy=..."
    )
