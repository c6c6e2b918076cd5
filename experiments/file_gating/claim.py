"""File-type gating (EAT, section 10): what is sent to light scanning, what to deep, at what cost.

    python -m experiments file_gating study=outputs/file_gating

Needs the runs themselves, since kept rows hold no labels: page.md has the lines that make
the data, train and measure. libmagic's and magika's lines come from the peers.json of the data,
those of real attachments from the stream.json of the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.report.cells import percent_text
from eat_lightning.report.certified import held_by, setting_of
from eat_lightning.report.claim import Claim
from eat_lightning.report.columns import count, number, percent, table, word
from eat_lightning.report.figures import MARKERS, SERIES, Figure
from eat_lightning.report.intervals import Interval, wilson
from eat_lightning.report.panels import bare_rows, dot
from eat_lightning.report.study import Measured, Study
from eat_lightning.report.table import Table

from .formats import LABELS
from .variants import KINDS

TASK = "file_gating"
BAND = (0.85, 0.90, 0.92)
LOST = "end lost"
NOT_IN_HEAD = "what lost its end cannot be seen in the first bytes"
CONTENT = "of complete content"


@dataclass(frozen=True)
class Files:
    """Decisions of a gate or a peer (`who`) on files of one kind, or with `all` of a class: how
    many it gave their class, and how many it sends to deep scanning, which is all but
    `matching`."""

    who: str
    kind: str
    label: str
    n: int
    num_right: int
    num_deep: int
    depth: float | None = None
    flops: float | None = None

    @property
    def right(self) -> Interval:
        return wilson(self.num_right, self.n)

    @property
    def deep(self) -> Interval:
        return wilson(self.num_deep, self.n)


COLUMNS = [
    word("who", "gate", "who"),
    word("kind", "files", "kind"),
    word("label", "class", "label"),
    count("n", "n", "n", "files"),
    percent("right", "right", "right", "percent that got their class; 95 % Wilson"),
    percent("deep", "to deep", "deep", "percent sent to deep scanning: all but `matching`"),
    number("depth", "depth", "depth", 2, "layers run, mean"),
    number("flops", "FLOPs", "flops", 3, "of the same body static, all files"),
]
STREAM = [
    word("ext", "extension", lambda e: e[0]),
    count("n", "n", lambda e: e[1]["n"], "attachments"),
    number("light", "to light", lambda e: 100 * e[1][LABELS[0]] / e[1]["n"], 1, "percent"),
    *(count(label, label, lambda e, k=label: e[1][k], "attachments") for label in LABELS),
    number("depth", "depth", lambda e: e[1]["depth"], 2, "layers run, mean"),
]


def claim(study: Study) -> Claim:
    rows = [m for m in study.measured if m.row.task == TASK and with_kinds(m)]
    chosen = held_by(study, rows)
    certified = [str(held.measured.row.exit) for held in chosen]
    gates = [m for m in rows if m.row.split == "validation" and shown(m, certified)]
    if not gates:
        raise ConfigError(
            "no row of file_gating whose examples say what was done to each file is here: measure "
            "its runs (python -m eat_lightning.measure run=outputs/file_gating)"
        )
    gates.sort(key=lambda m: m.row.point if isinstance(m.row.point, float) else 2.0)
    own = {setting(m): files_of(m, rows) for m in gates}
    peers = peers_of(study, gates[0])
    ends = dict.fromkeys([setting(gates[0]), setting(gates[-1])])  # the laxest and the strictest
    answer = [gate_text(m, own[setting(m)]) for m in gates] + peer_texts(peers)
    answer += [held.answer for held in chosen if held.measured in gates]
    files = table(
        "file-gating",
        "Where files are sent",
        "Files of packages that training did not see, and of tools that it did. Peers look at the "
        f"complete file, and their answer is put through the same rule; {NOT_IN_HEAD}.",
        COLUMNS,
        [*(f for found in own.values() for f in found), *peers],
        None,
    )
    figure = figure_of([f for who in ends for f in own[who]] + peers)
    whole = Claim("file_gating", "File-type gating")
    whole.add(answer, [files, *stream_tables(study, gates)], [figure], NOTES)
    return whole


def with_kinds(m: Measured) -> bool:
    """Kept examples do not say it."""
    return not m.row.baseline and m.outcome is not None and m.record.origins is not None


def shown(m: Measured, certified: Sequence[str]) -> bool:
    """Full depth, the paper's band, and what certificates chose."""
    return m.row.point in BAND or m.row.exit.kind == "never" or str(m.row.exit) in certified


def setting(m: Measured) -> str:
    return f"{m.row.model}, {setting_of(m)}"


def files_of(m: Measured, rows: Sequence[Measured]) -> list[Files]:
    """All, by class, then by kind; those whose end was lost from the rows of their own split."""
    same = [o for o in rows if o.row.split == "end_lost" and o.row.run == m.row.run]
    same = [o for o in same if str(o.row.exit) == str(m.row.exit)]
    label_B = np.array([KINDS[kind] for kind in m.record.origins or []])
    made = [files(m, "all", "", np.ones(m.row.num_examples, bool))]
    made += [files(m, f"all {label}", label, label_B == label) for label in LABELS]
    for each in [m, *same]:
        kinds_B = np.array(each.record.origins)
        kinds = [kind for kind in KINDS if kind in kinds_B]
        made += [files(each, kind, KINDS[kind], kinds_B == kind) for kind in kinds]
    return made


def files(m: Measured, kind: str, label: str, here_B: np.ndarray) -> Files:
    outcome = m.known
    answers_B, labels_B = outcome.logits_BC.argmax(1), m.record.labels
    return Files(
        who=setting(m),
        kind=kind,
        label=label,
        n=int(here_B.sum()),
        num_right=int((answers_B == labels_B)[here_B].sum()),
        num_deep=int((answers_B != 0)[here_B].sum()),
        depth=float(outcome.depth_B[here_B].mean()),
        flops=m.row.flops_ratio if kind == "all" else None,
    )


def peers_of(study: Study, m: Measured) -> list[Files]:
    run = study.run_of(m)
    path = Path(str(run.config["data"]["dir"]), TASK, "peers.json") if run else None
    if path is None or not path.is_file():
        return []
    return [
        Files(
            who=f"{found['peer']} {CONTENT}",
            kind=found["kind"],
            label=KINDS[found["kind"]],
            n=found["n"],
            num_right=found["right"],
            num_deep=found["deep"],
        )
        for found in json.loads(path.read_text())
    ]


def stream_tables(study: Study, gates: Sequence[Measured]) -> list[Table]:
    """Tables of real attachments, where these were tried."""
    run = study.run_of(gates[0])
    if run is None or not (run.folder / "stream.json").is_file():
        return []
    found = json.loads((run.folder / "stream.json").read_text())
    common = sorted(found["by_ext"].items(), key=lambda each: -each[1]["n"])
    lines = [("all", found["all"]), *((f".{ext}" if ext else "none", n) for ext, n in common)]
    caption = "Real traffic without labels: what share would go where, not whether that is right."
    if theirs := found.get("libmagic"):
        caption += (
            f" libmagic, on the same first 64 bytes and by the same rule, sends "
            f"{theirs['same_side']} of {found['all']['n']} to the same side and calls "
            f"{theirs[LABELS[0]]} matching."
        )
    name = "file-gating-stream"
    return [table(name, "Real attachments", caption, STREAM, lines, None)]


def gate_text(m: Measured, found: Sequence[Files]) -> str:
    classes = [f for f in found if f.kind.startswith("all ")]
    deep, row = ", ".join(f"{f.label} {percent_text(f.deep)}" for f in classes), m.row
    return (
        f"{setting(m)}: accuracy {100 * (row.accuracy or 0):.1f} %, depth {row.depth:.2f}, FLOPs "
        f"{row.flops_ratio:.3f}; sent to deep scanning: {deep}."
    )


def peer_texts(peers: Sequence[Files]) -> list[str]:
    lines = []
    for who in dict.fromkeys(f.who for f in peers):
        parts = []
        for label in LABELS:
            same = [f for f in peers if (f.who, f.label) == (who, label) and f.kind != LOST]
            deep = wilson(sum(f.num_deep for f in same), sum(f.n for f in same))
            parts.append(f"{label} {percent_text(deep)}")
        lines.append(f"{who}, same rule: sent to deep scanning: {', '.join(parts)}.")
    return lines


def figure_of(found: Sequence[Files]) -> Figure:
    """For each kind the share that is sent to deep scanning, a mark for each gate and peer."""
    shown = [f for f in found if f.kind in KINDS and f.kind != LOST]
    names = list(dict.fromkeys(f.who for f in shown))
    kinds = [kind for kind in KINDS if any(f.kind == kind for f in shown)]

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for f in shown:
            who, many = names.index(f.who), len(names)
            y = kinds.index(f.kind) + (who - (many - 1) / 2) * 0.8 / many
            color, marker = SERIES[who % len(SERIES)], MARKERS[who % len(MARKERS)]
            dot(ax, f.deep.times(100), y, color=color, marker=marker)
            if f.kind == kinds[0]:
                name = f.who.removesuffix(f" {CONTENT}")
                ax.plot([], [], linestyle="", label=name, color=color, marker=marker)
        bare_rows(ax, [f"{kind} ({KINDS[kind]})" for kind in kinds])
        ax.set_xlabel("sent to deep scanning, %")
        drawing.legend(loc="outside lower center", ncols=3)

    caption = (
        "By what was done to a complete file; lines: 95 % intervals. To be sent to deep scanning "
        f"is right for mismatches and unknowns, and a cost for what matches. Peers: {CONTENT}."
    )
    return Figure("file-gating", "Who goes to deep scanning", caption, draw, (6.4, 4.2))


NOTES = [
    f"{NOT_IN_HEAD}: such files have their own lines.",
    "`matching` says that name, declared type and content agree, not that a file is harmless: "
    "types that may act (programs, scripts) need a rule of their own behind the gate.",
]
