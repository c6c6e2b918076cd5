"""How much do exits save on long mails that are read in windows?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import MUTED, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import in_panels
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.table import Table

TEXTS = {0: "e-mails", 8000: "8,000 tokens"}
KINDS = {"benign": SERIES[1], "phishing": SERIES[0]}
RARE = 0.01  # a share of phishing as a mailbox has


def page(results: Path) -> Section:
    scan = result.read(results / "scan.jsonl")
    claim = Section("long_texts", "Long texts", answers(scan))
    claim.add(
        tables=[scan_table(scan)],
        figures=[time_over_kind(scan)],
        notes=["Shares have 95 % intervals over texts."],
    )
    claim.facts = facts(scan)
    return claim


def scan_table(scan: Sequence[Result]) -> Table:
    lines = [{"row": row, "share": share_of_static(row, scan)} for row in scan]
    return col.table("scan", "A scan, timed", "", SCAN, lines, None)


def exits_of(scan: Sequence[Result], tokens: int) -> Result:
    return next(row for row in scan if row["tokens"] == tokens and not row["is_static"])


def fastest(scan: Sequence[Result], tokens: int) -> Result:
    """The fastest static form."""
    some = [row for row in scan if row["tokens"] == tokens and row["is_static"]]
    return min(some, key=lambda row: row["share_of_int8"].value)


def share_of_static(row: Result, scan: Sequence[Result]) -> Interval:
    """The share of the fastest static form's time. Rows that were kept before it was recorded have
    their share of int8's: the quotient's interval is rather too wide."""
    known = row["share_of_static"]
    if known is not None:
        return known
    beside = fastest(scan, row["tokens"])
    own, other = row["share_of_int8"], beside["share_of_int8"]
    return Interval.exact(1.0) if row == beside else own.over(other)


def answers(scan: Sequence[Result]) -> list[str]:
    return [
        f"{TEXTS[tokens]}: {share_of_static(exits_of(scan, tokens), scan).text()}"
        for tokens in TEXTS
    ]


def facts(scan: Sequence[Result]) -> list[str]:
    """By label, since what a mailbox saves depends on how rare phishing is."""
    found = []
    for tokens, name in TEXTS.items():
        exits, static = exits_of(scan, tokens), fastest(scan, tokens)
        by_label = [exits[key] / static[key] for key in ("benign_ms", "phishing_ms")]
        rare = of_mix(exits) / of_mix(static)
        marked = f"{100 * exits['found']:.1f} % found, {100 * exits['alarmed']:.1f} % alarmed"
        shares = f"benign {by_label[0]:.2f}, phishing {by_label[1]:.2f}, 1 %: {rare:.2f}"
        found.append(f"{name}: {shares} of {static['form']}; {marked}; {times(exits, scan)}")
    return found


def times(exits: Result, scan: Sequence[Result]) -> str:
    return f"{share_of_static(exits, scan).inverse.text()} times as fast"


def of_mix(row: Result) -> float:
    return (1 - RARE) * row["benign_ms"] + RARE * row["phishing_ms"]


def lost(row: Result) -> str:
    """ "1 of 725, at most 0.65 %" (exact, one-sided)."""
    if row["lost"] is None:
        return ""
    count = binomtest(row["lost"], row["positives"], alternative="less").proportion_ci(0.95)
    return f"{row['lost']} of {row['positives']}, at most {100 * count.high:.2f} %"


SCAN = [
    col.word("texts", "texts", lambda item: TEXTS[item["row"]["tokens"]]),
    col.word("form", "engine and precision", "row.form"),
    col.number("benign", "benign, ms", "row.benign_ms", 1),
    col.number("phishing", "phishing, ms", "row.phishing_ms", 1),
    col.interval("share", "time / fastest static"),
    col.interval("int8", "time / static int8", "row.share_of_int8"),
    col.word("lost", "phishing missed", lambda item: lost(item["row"])),
]


def time_over_kind(scan: Sequence[Result]) -> Figure:
    """A panel for each kind of texts: milliseconds of benign ones and of phishing, by form."""
    forms = [*dict.fromkeys(row["form"] for row in reversed(scan))]

    def draw(axes: Any, tokens: int) -> None:
        for row in (row for row in scan if row["tokens"] == tokens):
            place = forms.index(row["form"])
            for up, (name, color) in zip((0.18, -0.18), KINDS.items(), strict=True):
                axes.barh(place + up, row[f"{name}_ms"], 0.34, color=color, linewidth=0)
        axes.set_yticks(range(len(forms)), forms)
        axes.axhline(len(forms) - 1.5, color=MUTED, linewidth=0.7)
        axes.grid(axis="y", visible=False)
        axes.set_title(TEXTS[tokens])

    def finish(drawing: Any, axes: list[Any], made: list[Any]) -> None:
        for name, color in KINDS.items():
            axes[1].barh([0], [0], color=color, label=name)
        axes[1].legend(loc="upper right")

    name, title = "time-over-kind", "Time per text by engine and precision"
    labels = "ms per text, batch size 1", ""
    return in_panels(name, title, "", [*TEXTS], draw, labels, (3.4, 2.6), finish, sharey=True)
