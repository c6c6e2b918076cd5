"""File-type gating (EAT, section 10): what is sent to light scanning, what to deep, at what cost.

    python experiments/file_gating.py study=outputs/file_gating

Needs the runs themselves, since kept rows hold no labels: experiments/file_gating.md has the lines
that make the data, train and measure. libmagic's and magika's lines come from the peers.json of the
data, those of real attachments from the stream.json of the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.gating.formats import LABELS
from eat_lightning.gating.variants import KINDS
from eat_lightning.report import cells
from eat_lightning.report.certified import held_by
from eat_lightning.report.claim import Cell, Claim, Column, Figure, Line, Mark, Source, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.figures import MARKERS, SERIES
from eat_lightning.report.panels import percent
from eat_lightning.report.statistics import Interval, wilson
from eat_lightning.report.study import Measured, Point, Study

TASK = "file_gating"
BAND = (0.85, 0.90, 0.92)
NOT_IN_HEAD = "what lost its end cannot be seen in the first bytes"
CONTENT = "of complete content"
COLUMNS = [
    Column("who", "gate", numeric=False),
    Column("kind", "files", numeric=False),
    Column("label", "class", numeric=False),
    Column("n", "n", "files"),
    Column("right", "right", "percent that got their class; 95 % Wilson"),
    Column("deep", "to deep", "percent sent to deep scanning: all but `matching`; 95 % Wilson"),
    Column("depth", "depth", "layers run, mean"),
    Column("flops", "FLOPs", "of the same body static, all files"),
]
STREAM_COLUMNS = [
    Column("ext", "extension", numeric=False),
    Column("n", "n", "attachments"),
    Column("light", "to light", "percent"),
    *(Column(label, label, "attachments") for label in LABELS),
    Column("depth", "depth", "layers run, mean"),
]


def claim(study: Study) -> Claim:
    rows = [m for m in study.measured if m.row.task == TASK and with_kinds(m)]
    gates = [m for m in rows if m.row.split == "validation" and shown(study, rows, m)]
    if not gates:
        raise ConfigError(
            "no row of file_gating whose examples say what was done to each file is here: measure "
            "its runs (python -m eat_lightning.measure run=outputs/file_gating)"
        )
    gates.sort(key=lambda m: m.row.point if isinstance(m.row.point, float) else 2.0)
    peers = peers_of(study, gates[0])
    lines = [line for m in gates for line in lines_of(m, rows)]
    lines += [peer_line(found) for found in peers]
    caption = (
        "Files of packages that training did not see, and of tools that it did. Peers look at the "
        f"complete file, and their answer is put through the same rule; {NOT_IN_HEAD}."
    )
    tables = [Table("file-gating", "Where files are sent", caption, COLUMNS, lines)]
    tables += [t for t in [stream_table(study, gates)] if t is not None]
    figures = [figure_of([*gates[:1], *gates[1:][-1:]], peers)]  # the laxest and the strictest
    answer = [told(m) for m in gates] + [peer_told(peers, who) for who in names(peers)]
    held = held_by(study, gates)
    answer += [
        f"{h.certificate.name}: "
        f"{'full depth' if h.certificate.fallback else Point([h.measured]).setting}, on validation "
        f"{percent(h.risk)}."
        for h in held
    ]
    return Claim("file_gating", "File-type gating", answer, tables, figures, notes())


def with_kinds(m: Measured) -> bool:
    """Kept examples do not say it."""
    return not m.row.baseline and m.outcome is not None and m.outcome.recorded.origins is not None


def shown(study: Study, rows: Sequence[Measured], m: Measured) -> bool:
    """Full depth, the paper's band, and what certificates chose."""
    exits = [str(h.measured.row.exit) for h in held_by(study, rows)]
    return m.row.point in BAND or m.row.exit["kind"] == "never" or str(m.row.exit) in exits


def setting(m: Measured) -> str:
    name = Point([m]).setting.replace("never", "full depth").replace("static", "full depth")
    return f"{m.row.model}, {name}"


def in_percent(n: int, of: int) -> Cell:
    found: Interval = wilson(n, of).times(100)
    text = f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"
    return Cell(found.value, text, found.low, found.high)


def lines_of(m: Measured, rows: Sequence[Measured]) -> list[Line]:
    """By class, then by kind; those whose end was lost from the rows of their own split."""
    same = [o for o in rows if o.row.split == "end_lost" and o.row.run == m.row.run]
    same = [o for o in same if str(o.row.exit) == str(m.row.exit)]
    made = [line_of(m, "all", "", np.ones(m.row.num_examples, bool))]
    made[0].cells["flops"] = cells.number(m.row.flops_ratio, 3)
    for each in [m, *same]:
        kinds = np.array(each.outcome.recorded.origins)  # type: ignore[union-attr]
        if each is m:
            for label in LABELS:
                here = np.array([KINDS[kind] == label for kind in kinds])
                made.append(line_of(m, f"all {label}", label, here))
        present = [kind for kind in KINDS if (kinds == kind).any()]
        made += [line_of(each, kind, KINDS[kind], kinds == kind) for kind in present]
    return made


def line_of(m: Measured, kind: str, label: str, here_B: np.ndarray) -> Line:
    assert m.outcome is not None
    answers_B, labels_B = m.outcome.logits_BC.argmax(1), m.outcome.recorded.labels
    n = int(here_B.sum())
    made = {
        "who": cells.words(setting(m)),
        "kind": cells.words(kind),
        "label": cells.words(label),
        "n": cells.words(n),
        "right": in_percent(int((answers_B == labels_B)[here_B].sum()), n),
        "deep": in_percent(int((answers_B != 0)[here_B].sum()), n),
        "depth": cells.number(float(m.outcome.depth_B[here_B].mean()), 2),
    }
    return Line(made, source_of(Point([m])))


def peers_of(study: Study, m: Measured) -> list[dict[str, Any]]:
    run = study.run_of(m)
    path = Path(str(run.config["data"]["dir"])) / TASK / "peers.json" if run else None
    return json.loads(path.read_text()) if path is not None and path.is_file() else []


def names(peers: Sequence[dict[str, Any]]) -> list[str]:
    return [*dict.fromkeys(found["peer"] for found in peers)]


def peer_line(found: dict[str, Any]) -> Line:
    made = {
        "who": cells.words(f"{found['peer']} {CONTENT}"),
        "kind": cells.words(found["kind"]),
        "label": cells.words(KINDS[found["kind"]]),
        "n": cells.words(found["n"]),
        "right": in_percent(found["right"], found["n"]),
        "deep": in_percent(found["deep"], found["n"]),
    }
    return Line(made, Source((), "python experiments/recipes/file_gating_data.py to=<folder>"))


def stream_table(study: Study, gates: Sequence[Measured]) -> Table | None:
    run = study.run_of(gates[0])
    path = run.folder / "stream.json" if run else None
    if path is None or not path.is_file():
        return None
    found = json.loads(path.read_text())
    common = sorted(found["by_ext"].items(), key=lambda each: -each[1]["n"])
    by_ext = {"all": found["all"], **{f".{ext}" if ext else "none": n for ext, n in common}}
    lines = []
    for ext, counts in by_ext.items():
        made = {label: cells.words(counts[label]) for label in LABELS}
        made |= {"ext": cells.words(ext), "n": cells.words(counts["n"])}
        made["light"] = cells.number(100 * counts[LABELS[0]] / counts["n"], 1)
        made["depth"] = cells.number(counts["depth"], 2)
        lines.append(Line(made, Source((run.name if run else "",))))
    caption = "Real traffic without labels: what share would go where, not whether that is right."
    if theirs := found.get("libmagic"):
        caption += (
            f" libmagic, on the same first 64 bytes and by the same rule, sends "
            f"{theirs['same_side']} of {found['all']['n']} to the same side and calls "
            f"{theirs[LABELS[0]]} matching."
        )
    return Table("file-gating-stream", "Real attachments", caption, STREAM_COLUMNS, lines)


def told(m: Measured) -> str:
    assert m.outcome is not None
    answers_B, labels_B = m.outcome.logits_BC.argmax(1), m.outcome.recorded.labels
    parts = []
    for number, label in enumerate(LABELS):
        here_B = labels_B == number
        deep = wilson(int((answers_B != 0)[here_B].sum()), int(here_B.sum()))
        parts.append(f"{label} {percent(deep)}")
    row = m.row
    return (
        f"{setting(m)}: accuracy {100 * (row.accuracy or 0):.1f} %, depth {row.depth:.2f}, FLOPs "
        f"{row.flops_ratio:.3f}; sent to deep scanning: {', '.join(parts)}."
    )


def peer_told(peers: Sequence[dict[str, Any]], who: str) -> str:
    parts = []
    for label in LABELS:
        here = [f for f in peers if f["peer"] == who and KINDS[f["kind"]] == label]
        here = [f for f in here if f["kind"] != "end lost"]
        n, deep = (sum(f[key] for f in here) for key in ("n", "deep"))
        parts.append(f"{label} {percent(wilson(deep, n))}")
    return f"{who} {CONTENT}, same rule: sent to deep scanning: {', '.join(parts)}."


def figure_of(gates: Sequence[Measured], peers: Sequence[dict[str, Any]]) -> Figure:
    """For each kind the share that is sent to deep scanning, a mark for each gate."""
    series: dict[str, dict[str, Interval]] = {}
    for m in gates:
        kinds, outcome = np.array(m.outcome.recorded.origins), m.outcome  # type: ignore[union-attr]
        deep_B = outcome.logits_BC.argmax(1) != 0  # type: ignore[union-attr]
        counts = {k: (int(deep_B[kinds == k].sum()), int((kinds == k).sum())) for k in KINDS}
        series[setting(m)] = {k: wilson(*each) for k, each in counts.items() if each[1]}
    for who in names(peers):
        mine = [f for f in peers if f["peer"] == who and f["kind"] != "end lost"]
        series[who] = {f["kind"]: wilson(f["deep"], f["n"]) for f in mine}
    order = [k for k in KINDS if any(k in found for found in series.values())]
    height = 0.8 / len(series)

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for i, (who, found) in enumerate(series.items()):
            for k, each in found.items():
                y = order.index(k) + (i - (len(series) - 1) / 2) * height
                color = SERIES[i % len(SERIES)]
                ax.plot([100 * each.low, 100 * each.high], [y, y], color=color, linewidth=0.9)
                label = who if k == order[0] else None
                style: dict[str, Any] = {"color": color, "mew": 0, "label": label}
                (mark,) = ax.plot(100 * each.value, y, MARKERS[i % len(MARKERS)], **style)
                mark.set_gid(f"file-gating-{i}-{order.index(k)}")
        ax.set_yticks(range(len(order)), [f"{k} ({KINDS[k]})" for k in order])
        ax.set_ylim(len(order) - 0.5, -0.5)
        ax.set_xlabel("sent to deep scanning, %")
        drawing.legend(loc="outside lower center", ncols=3)

    marks = [
        Mark(
            f"file-gating-{i}-{order.index(k)}",
            f"{who}: {k}",
            (("to deep", percent(each)),),
            source_of(Point([gates[0]])),
        )
        for i, (who, found) in enumerate(series.items())
        for k, each in found.items()
    ]
    caption = (
        "By what was done to a complete file; lines: 95 % intervals. To be sent to deep scanning "
        f"is right for mismatches and unknowns, and a cost for what matches. Peers: {CONTENT}."
    )
    return Figure("file-gating", "Who goes to deep scanning", caption, draw, (6.4, 4.2), marks)


def notes() -> list[str]:
    return [
        f"{NOT_IN_HEAD}: such files have their own lines.",
        "`matching` says that name, declared type and content agree, not that a file is harmless: "
        "types that may act (programs, scripts) need a rule of their own behind the gate.",
    ]


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
