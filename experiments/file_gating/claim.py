"""File-type gating: where files are sent, from counts.

`page` reads the kept counts; `claim` counts on runs of your own:

    eat report study=outputs/file_gating claims=[experiments/file_gating/claim.py]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import MARKERS, SERIES, Figure
from eat_lightning.report.intervals import Interval, wilson
from eat_lightning.report.panels import bare_rows, dot
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study, grouped_by
from eat_lightning.report.table import Table

from .files import LABELS, MATCHING
from .recipe import KINDS
from .rows import SHOWN, results_of

LOST = "end lost"  # the first bytes cannot show it
DEEP = "percent sent to deep scanning; 95 % Wilson"


def page(results: Path) -> Section:
    found = result.read(results / "rows.jsonl")
    whole = claim_of(found)
    stream = [r for r in found if r["kind"] == "stream" and r["gate"] == "eat"]
    whole.tables.append(col.table("stream", "Real attachments", "", STREAM, stream, None))
    whole.facts = list(facts_of(found))
    return whole


def claim(study: Study) -> Section:
    return claim_of(results_of(study)).or_lacking(
        "no row of file_gating has examples with the origin of each file: measure its runs "
        "(eat measure run=outputs/file_gating)"
    )


def claim_of(found: Sequence[Result]) -> Section:
    files = [r for r in found if r["kind"] == "files"]
    gates = [{r["files"]: r for r in same} for same in grouped_by(files, gate_of).values()]
    held = [r for r in found if r["kind"] == "certificate"]
    inner = {f"tau {tau:g}" for tau in SHOWN}  # between the laxest and full depth
    ends = [gate for gate in gates if name_of(gate).rpartition(", ")[2] not in inner]
    whole = Section("file_gating", "File-type gating")
    whole.add(
        tables=[
            col.table("gates", "Where files are sent", "", GATES, gates, None),
            kinds_table(ends),
            col.table("certified", "Certificates", "", CERTIFICATES, held, None),
        ],
        figures=[figure_of(ends)] if gates else [],
    )
    return whole


Gate = dict[str, Result]  # a gate's counts by what was done to the files


def gate_of(r: Result) -> str:
    return r["gate"]


def name_of(gate: Gate) -> str:
    return next(iter(gate.values()))["gate"]


def sent(gate: Gate, label: str, name: str = "deep") -> Interval:
    """The share of a class's files that is sent to deep scanning (or that is `right`)."""
    same = [r for kind, r in gate.items() if KINDS.get(kind) == label and kind != LOST]
    return wilson(sum(r[name] for r in same), sum(r["n"] for r in same))


def accuracy(gate: Gate) -> float:
    known = [r for kind, r in gate.items() if kind in KINDS and kind != LOST]
    return 100 * sum(r["right"] for r in known) / sum(r["n"] for r in known)


def of_all(name: str) -> Any:
    return lambda gate: gate["all"][name] if "all" in gate else None


GATES = [
    col.word("gate", "gate", name_of),
    col.number("accuracy", "accuracy", accuracy, 1, "percent"),
    *(
        col.percent(label, f"{label} sent to deep (%)", lambda g, label=label: sent(g, label), DEEP)
        for label in LABELS
    ),
    col.number("depth", "depth", of_all("depth"), 2, "layers run, mean"),
    col.number("flops", "FLOPs", of_all("flops_ratio"), 3, "of the same backbone static"),
]
CERTIFICATES = [
    col.word("certificate", "certificate"),
    col.word("rule", "exits"),
    col.percent("risk", "risk on validation (%)", help="95 % interval"),
]
STREAM = [
    col.word("ext", "extension"),
    col.count("n", "n"),
    col.number("light", "sent to light (%)", lambda r: 100 * r[MATCHING] / r["n"], 1),
    *(col.count(label, label) for label in LABELS),
    col.number("depth", "depth"),
]


def kinds_table(gates: Sequence[Gate]) -> Table:
    """A line for each kind, with the percentage that each gate sends to deep scanning."""

    def deep(gate: Gate) -> Any:
        return lambda kind: 100 * gate[kind]["deep"] / gate[kind]["n"] if kind in gate else None

    columns = [
        col.word("kind", "files", str),
        col.word("label", "class", KINDS.get),
        col.count("n", "n", lambda kind: next(g[kind]["n"] for g in gates if kind in g)),
        *(col.number(name_of(gate), name_of(gate), deep(gate), 1, DEEP) for gate in gates),
    ]
    kinds = [kind for kind in KINDS if any(kind in gate for gate in gates)]
    return col.table("kinds", "Sent to deep scanning, percent", "", columns, kinds, None)


def facts_of(found: Sequence[Result]) -> Iterator[str]:
    for r in found:
        if r["kind"] == "difference":
            yield f"{r['points'].text(1, sign='+')} points, p {r['p']:.3f}"
        if r["kind"] == "time":
            yield (
                f"{r['rule']}: {r['ms']} instead of {r['static_ms']} ms, {r['speed_up']} times; "
                f"{r['batch_speed_up']} times in batches"
            )
        if r["kind"] == "certificate":
            yield f"{r['certificate']}: {100 * r['risk'].value:.1f} %"
    (theirs,) = (r for r in found if r["kind"] == "stream" and r["gate"] == "libmagic")
    yield f"libmagic: the same side for {theirs['same_side']} of {theirs['n']}"


def figure_of(gates: Sequence[Gate]) -> Figure:
    """For each kind the share that is sent to deep scanning, a mark for each gate and peer."""
    kinds = [kind for kind in KINDS if kind != LOST and any(kind in gate for gate in gates)]

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for k, gate in enumerate(gates):
            look: dict[str, Any] = {"color": SERIES[k % 8], "marker": MARKERS[k % 8]}
            for row, kind in enumerate(kinds):
                if kind in gate:
                    share = wilson(gate[kind]["deep"], gate[kind]["n"]).times(100)
                    dot(ax, share, row + 0.8 * ((k + 0.5) / len(gates) - 0.5), **look)
            ax.plot([], [], linestyle="", label=name_of(gate), **look)
        bare_rows(ax, [f"{kind} ({KINDS[kind]})" for kind in kinds])
        ax.set_xlabel("sent to deep scanning, %")
        drawing.legend(loc="outside lower center", ncols=3)

    return Figure("file-gating", "Files sent to deep scanning", "", draw, (6.8, 4.2))
