"""Report of an adaptation for a person: a table and a page.

Shapes: N texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.record.measured import Measured
from eat_lightning.report import figures
from eat_lightning.report.figures import Figure
from eat_lightning.report.page import render
from eat_lightning.report.section import Section
from eat_lightning.report.table import Cell, Column, Line, Table

KINDS = ("static", "with exits", "cascade", "answered again")
MOST_SHOWN = 200  # texts whose answer changed
SIZE = (4.5, 3.0)  # inches of a figure, so that its letters can be read on a phone


def candidates_table(result: AdaptResult) -> Table:
    """All candidates, a line each."""
    how = "one at a time" if result.plan.batch == 1 else f"in batches of {result.plan.batch}"
    columns = [
        Column("name", "candidate", numeric=False),
        Column("ms", f"ms per text, {how}", f"{result.plan.threads} thread, from ids to answer"),
        Column("changed", "changed, choosing", f"of {len(result.splits['select']):,} texts"),
        Column("tested", "changed, certificate", "on texts that nothing else has seen"),
        Column("verdict", "verdict", "the fastest that holds is chosen", numeric=False),
    ]
    lines = [Line(cells(result, candidate)) for candidate in result.candidates]
    caption = f"Wanted: {result.guarantee}."
    return Table("candidates", "Candidates", caption, columns, lines)


def cells(result: AdaptResult, candidate: Measured) -> dict[str, Cell]:
    found = {"name": Cell(candidate.name, candidate.name, bold=candidate is result.chosen)}
    if candidate.ms:
        found["ms"] = Cell(result.ms(candidate), f"{result.ms(candidate):.2f}")
    if candidate.counts:
        changed = candidate.counts[0].changed
        found["changed"] = Cell(changed, str(changed))
    if candidate.tested is not None:
        first = candidate.tested[0]
        found["tested"] = Cell(first.changed, f"{first.changed} of {first.num:,}")
    verdict = verdict_on(result, candidate)
    return found | {"verdict": Cell(verdict, verdict)}


def verdict_on(result: AdaptResult, candidate: Measured) -> str:
    """Say what became of a candidate, and why."""
    if candidate is result.chosen:
        return "chosen"
    if candidate.tested is not None:
        return "holds" if candidate.holds else f"fails, {candidate.tested[0].allowed} may change"
    if candidate.fault or candidate is result.first:
        return candidate.fault
    if broken := [count for count in candidate.counts if not count.holds]:
        return f"changes too many, {broken[0].allowed} of {broken[0].num:,} may"
    slower = candidate.ms and result.ms(candidate) >= result.ms(result.chosen)
    return "slower than the chosen" if slower else "not tried, too many would change"


def page(result: AdaptResult) -> str:
    """Make the page's HTML."""
    answer = [line for line in (result.won, result.again, result.changes) if line]
    claim = Section("adapted", "What was won", answer, [candidates_table(result)])
    claim.add(figures=[time_over_agreement(result)])
    if result.chosen.point.has_exits or result.chosen.point.falls_back:
        claim.add(figures=[who_leaves_where(result)])
    claim.add(tables=[changed_texts(result)])
    claim.notes += [*filter(None, [result.trial]), f"Texts: {result.texts.line}."]
    return render(f"{result.title}, adapted", [claim])


def time_over_agreement(result: AdaptResult) -> Figure:
    """A dot for each candidate that answered the texts for choosing."""
    batch, num = result.plan.batch, len(result.splits["select"])

    def draw(drawing: Any) -> None:
        axes = drawing.subplots()
        shown = [c for c in result.candidates if c.ms and c.counts]
        looks = figures.looks([kind for kind in KINDS if kind in map(kind_of, shown)])
        for candidate in shown:
            look = looks[kind_of(candidate)]
            agree, ms = 100 - 100 * candidate.counts[0].changed / num, result.ms(candidate)
            size = 11 if candidate is result.chosen else 6
            axes.plot([agree], [ms], look.marker, color=look.color, markersize=size)
        axes.axvline(100 * result.plan.agree, color=figures.MUTED, linestyle=":")
        for name, look in looks.items():
            axes.plot([], [], look.marker, color=look.color, label=name)
        axes.set(xlabel="answers unchanged (%)", ylabel=f"ms per text, batch size {batch}")
        axes.set_ylim(bottom=0)
        axes.legend()

    caption = (
        f"Of {num:,} texts for choosing. Large: chosen. Dotted: the share that must stay. A "
        "candidate is tried where it lies far enough to the right of it to be certified."
    )
    return Figure("time-over-agreement", "Time over agreement.", caption, draw, SIZE)


def kind_of(candidate: Measured) -> str:
    """Name what a candidate is, for a legend."""
    if candidate.point.before is not None:
        return "answered again" if candidate.point.falls_back else "cascade"
    return "static" if candidate.point.is_static else "with exits"


def who_leaves_where(result: AdaptResult) -> Figure:
    depth_N, last = result.trace.depth_B, result.original.num_layers
    titles = [str(layer) for layer in range(last + 1)]
    if result.chosen.point.falls_back:  # layers of the second pass count from the last on
        titles.append("again")
        depth_N = depth_N.clip(max=last + 1)

    def draw(drawing: Any) -> None:
        axes = drawing.subplots()
        for layer in range(len(titles)):
            share = 100 * float((depth_N == layer).mean())
            axes.bar([layer], [share], color=figures.SERIES[1])
        axes.set(xlabel="layers run (0: the embedding alone)", ylabel="texts (%)")
        axes.set_xticks(range(len(titles)), titles)

    caption = f"Of the {len(depth_N):,} texts of the certificate."
    return Figure("who-leaves-where", "Who leaves where.", caption, draw, SIZE)


def changed_texts(result: AdaptResult) -> Table:
    """Texts of the certificate whose answer changed."""
    same, split, trace = result.original.same, result.splits["certify"], result.trace
    original_NC = result.original_answers["certify"]
    rows_N = np.flatnonzero(same.changed(original_NC, trace.logits_BC))
    scale_N = [result.scales.get(str(depth), 1.0) for depth in trace.depth_B.tolist()]
    logits_NC = trace.logits_BC * np.array(scale_N)[:, None]  # as they are printed
    titles = {"text": "text", "before": "original", "after": "adapted", "depth": "layers"}
    columns = [Column(key, title, numeric=key == "depth") for key, title in titles.items()]
    lines = []
    for row in rows_N[:MOST_SHOWN].tolist():
        texts = {
            "text": " | ".join(split.text(row)),
            "before": same.shown(original_NC[row]),
            "after": same.shown(logits_NC[row]),
            "depth": str(trace.depth_B[row]),
        }
        lines.append(Line({key: Cell(text, text) for key, text in texts.items()}))
    caption = f"{len(rows_N):,} of {len(original_NC):,} texts of the certificate."
    return Table("changed", "Texts whose answer changed", caption, columns, lines)
