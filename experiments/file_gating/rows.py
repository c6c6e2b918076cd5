"""Where a gate sends files, counted on finished runs, and on real attachments.

    python -m experiments.file_gating.rows study=outputs/file_gating files=FOLDER [data=FOLDER]

`files` is the folder that recipe.py wrote, whose peers come along. `data` has email_attachments
(64 bytes each, no label), which go through the run with exits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pandas import DataFrame

from eat_lightning.errors import reported
from eat_lightning.report import result
from eat_lightning.report.certified import held_by, setting_of
from eat_lightning.report.intervals import mcnemar, paired_difference
from eat_lightning.report.result import Result
from eat_lightning.report.study import KeptRow, Study, open_study

from .files import LABELS, MATCHING, extension, group_of_mime, texts, verdict
from .recipe import libmagic

RESULTS = Path(__file__).parent / "results" / "rows.jsonl"
SHOWN = (0.85, 0.90, 0.92)  # taus of the paper's band
AT_ONCE = 32


def results_of(study: Study) -> list[Result]:
    """Counts of each gate by what was done to the files, certificates, and differences between
    models at full depth; none where no row's examples say what was done to each file."""
    rows = [m for m in study.measured if m.row.task == "file_gating" and with_kinds(m)]
    held, found = held_by(study, rows), []
    chosen = {str(each.measured.row.exit) for each in held}
    gates = [m for m in rows if is_shown(m, chosen)]
    for m in gates:
        found += files_of(m)
    for each in held:
        values = {"rule": each.exits, "seen": each.certificate.seen.get("risk"), "risk": each.risk}
        found.append(Result({"kind": "certificate", "certificate": each.certificate.name}, values))
    full = [m for m in gates if m.row.split == "validation" and m.row.exit.kind == "never"]
    for other in full[1:]:
        a_B, b_B = full[0].correct_B, other.correct_B
        assert a_B is not None
        assert b_B is not None
        values = {"points": paired_difference(a_B, b_B).times(100), "p": mcnemar(a_B, b_B)}
        found.append(Result({"kind": "difference", "against": other.row.model}, values))
    return found


def with_kinds(m: KeptRow) -> bool:
    return not m.row.baseline and m.outcome is not None and m.record.origins is not None


def is_shown(m: KeptRow, chosen: set[str]) -> bool:
    return m.row.point in SHOWN or m.row.exit.kind == "never" or str(m.row.exit) in chosen


def files_of(m: KeptRow) -> Iterator[Result]:
    """One result for all files of a split, and one for each kind."""
    trace, kinds_B = m.known, np.array(m.record.origins)
    answers_B, labels_B = trace.logits_BC.argmax(1), m.record.labels
    kinds = list(np.unique(kinds_B))
    for kind in [*(["all"] if m.row.split == "validation" else []), *map(str, kinds)]:
        here = (kinds_B == kind) | (kind == "all")
        values: dict[str, Any] = {"n": int(here.sum())}
        values["right"] = int((answers_B == labels_B)[here].sum())
        values["deep"] = int((answers_B != LABELS.index(MATCHING))[here].sum())
        values["depth"] = float(trace.depth_B[here].mean())
        if kind == "all":
            values["flops_ratio"] = m.row.flops_ratio
        gate = f"{m.row.model}, {setting_of(m)}"
        yield Result({"kind": "files", "gate": gate, "files": kind}, values)


def stream_of(study: Study, data: Path) -> Iterator[Result]:
    """Where real attachments go, by extension, and where libmagic would send the same bytes."""
    from eat_lightning.bundle.model import Model

    run = next(run for run in study.runs if run.model_config()["exit"]["kind"] != "never")
    columns = ["filename", "declared_mime", "head64_hex"]
    table = pq.ParquetFile(data / "email_attachments" / "metadata.parquet").read(columns=columns)
    seen: Any = DataFrame(table.to_pydict(), dtype=object)
    heads, ext = seen["head64_hex"].map(bytes.fromhex), seen["filename"].map(extension)
    files = list(zip(seen["filename"], seen["declared_mime"], heads, strict=True))
    pairs, answer = [[*texts(*file)] for file in files], Model.open(run.folder).answer
    parts = (pairs[first : first + AT_ONCE] for first in range(0, len(pairs), AT_ONCE))
    answers = DataFrame([said for part in parts for said in answer(part)])
    for name in ["all", *ext.value_counts().index[:5]]:
        yield stream_result(name or "none", answers[(ext == name) | (name == "all")])
    look = libmagic()
    theirs = np.array([verdict(n, mime, group_of_mime(look(head))) for n, mime, head in files])
    same = (answers["label"].to_numpy() == MATCHING) == (theirs == MATCHING)
    counts = {label: int((theirs == label).sum()) for label in LABELS}
    what = {"kind": "stream", "gate": "libmagic", "ext": "all"}
    yield Result(what, {"n": len(theirs), "same_side": int(same.sum()), **counts})


def stream_result(name: str, answers: Any) -> Result:
    counts = {label: int((answers["label"] == label).sum()) for label in LABELS}
    values = {"n": len(answers), "depth": float(answers["depth"].mean()), **counts}
    return Result({"kind": "stream", "gate": "eat", "ext": name}, values)


def main(words: Sequence[str]) -> None:
    from experiments.study import given_of  # in a clone: the wheel has claims alone

    given = given_of(words, ("data",), needs=("study", "files"))
    study = open_study([given["study"]])
    found = results_of(study)
    found += result.read(Path(given["files"], "file_gating", "peers.jsonl"))
    found += stream_of(study, Path(given["data"])) if "data" in given else []
    result.update(RESULTS, found)
    print(f"{RESULTS}: {len(found)} results")


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
