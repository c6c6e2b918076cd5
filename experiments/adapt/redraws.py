"""How often a certificate holds: one pass's answers, and its texts drawn anew into parts.

Shapes: N texts, of a part or of all kept ones, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from eat_lightning.bundle.original import Original
from eat_lightning.data.unlabelled import read_texts
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.forms import Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.run import splits_of, with_variants
from eat_lightning.deploy.adapt.search import HEAD, Bench, Search
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.long_texts import REFUSE
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.claim import Claim
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Dtype, Point
from eat_lightning.record.record import Record
from eat_lightning.record.same_answer import SameAnswer
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit
from experiments.adapt.levels import settings_of

DTYPES: dict[Dtype, float] = {
    "fp32": 1.0,
    "int8": 0.5,
}  # cost of a layer: an assumption, since no time is measured
PARTS = {"select": 0.2, "certify": 0.4}  # of the kept texts; nothing sees the others
SELECT = 200  # texts that judge the heads while they learn


@dataclass
class Kept:
    """Answers to all kept texts.

    Args:
        original_NC: transformers' logits.
        records: guesses of our heads, by dtype.
    """

    same: SameAnswer
    encoder: AdaptiveEncoder
    original_NC: np.ndarray
    records: Mapping[str, Record]

    def trace(self, candidate: Measured, rows_N: np.ndarray) -> Trace:
        point, record = candidate.point, self.records[candidate.point.dtype]
        if point.before is not None:
            record = replace(record, before=self.records[point.before.dtype])
        return record.take(rows_N).replay(point)

    def changed(self, candidate: Measured, rows_N: np.ndarray) -> np.ndarray:
        logits_NC = self.trace(candidate, rows_N).logits_BC
        return self.same.changed(self.original_NC[rows_N], logits_NC)


class KeptForms(Forms):
    """The forms whose answers are kept, and which nothing runs any more."""

    def __init__(self, kept: Kept):
        self.encoder, self.original = kept.encoder, SimpleNamespace(same=kept.same)  # type: ignore

    @property
    def num_layers(self) -> int:
        return self.encoder.shape.num_layers

    def available(self, engines: list[str]) -> list[Point]:
        return [Point.whole("torch", dtype) for dtype in DTYPES]


@dataclass
class Redraw(Search):
    """The search of `eat adapt`, whose answers are kept ones and whose times are layers."""

    kept: Any = None
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    def trace(self, candidate: Measured, part: str) -> Trace:
        return self.kept.trace(candidate, self.rows[part])

    def record(self, dtype: str) -> Record:
        return self.kept.records[dtype].take(self.rows["select"])

    def time(self, name: str, candidates: Any, most: Any = None) -> None:
        last = self.forms.num_layers
        for candidate in candidates:
            point = candidate.point
            low = point if point.before is None else point.before
            again = 0.0 if point.before is None else (1 - candidate.share) * last
            depth = last if point.is_static else candidate.depth - again
            cost = depth * DTYPES[low.dtype] + again * DTYPES[point.dtype]
            if point.engine == "transformers":
                cost = 1.01 * last
            candidate.ms = {"1": cost, "32": cost}


@dataclass(frozen=True)
class Draw:
    """Outcome of one draw of the parts; the defaults are of one that certified nothing.

    Args:
        depth: layers that the chosen candidate runs, in mean over *select*.
        exits: it has some.
        share: of all kept texts whose answer changes, which the promise is about.
    """

    certified: bool = False
    depth: float = 0.0
    exits: bool = False
    share: float = 0.0


def drawn(kept: Kept, claim: Claim, seed: int) -> Draw:
    """Draw the parts, choose and certify."""
    order_N = np.random.default_rng(seed).permutation(len(kept.original_NC))
    ends = np.cumsum([share * len(order_N) for share in PARTS.values()]).astype(int)
    rows = dict(zip(PARTS, np.split(order_N, ends), strict=False))
    original = {part: kept.original_NC[rows_N] for part, rows_N in rows.items()}
    given: Any = (KeptForms(kept), kept.same, [claim], rows, original, None, 1, 1, {})
    search = Redraw(*given, bench=Bench(guess=HEAD), kept=kept, rows=rows)
    certified = [candidate for candidate in search.run([]) if candidate.holds]
    if not certified:
        return Draw()
    chosen = min(certified, key=search.speed)
    share = float(kept.changed(chosen, order_N).mean())
    return Draw(True, chosen.depth, chosen.point.has_exits, share)


def passes(folder: Path, task: str, settings: Any, learn: int, num_kept: int) -> Kept:
    """Make or read all answers. Texts are the first ones of `texts.parquet`, which are shuffled."""
    given = settings["length"], settings.get("tolerance")
    original = Original.open(str(folder / "model"), *given, long=REFUSE)
    path, num = str(folder / "texts.parquet"), learn + SELECT + num_kept
    texts = read_texts(path, settings["columns"], num).read_by(original.reader)
    places = np.split(np.arange(len(texts)), [learn, learn + SELECT])
    parts: dict[str, Any] = dict(zip(("learn", "select", "kept"), places, strict=True))
    work = Work.open(folder / "answers", {"task": task, "learn": learn, "kept": num_kept})
    plan = settings_of(folder, folder / "redrawn", 0.99, {"columns": settings["columns"]})
    splits = splits_of(texts, parts, original, work.folder)
    copies = plan.heads.variants
    splits["learn"] = with_variants(texts, parts["learn"], copies, original, work.folder)
    theirs = deployed_original(original)
    answers = work.trace("original kept", splits["kept"], theirs.answers).logits_BC
    encoder = original.encoder(len(texts.columns))
    learn_exits(encoder, splits, plan.heads, work.folder, plan.least_steps)
    run = scratch_run(work.folder / "run", original, encoder, texts.columns)
    forms = Forms(original, encoder, run, 1)
    records = {dtype: forms.record(dtype, splits["kept"]) for dtype in DTYPES}
    return Kept(original.same, encoder, answers, records)


def redrawn(
    folder: Path, task: str, settings: Any, claim: Claim, draws: int, learn: int, num_kept: int
) -> Result:
    """Draw the parts so often, and count the certificates that are broken."""
    kept = passes(folder, task, settings, learn, num_kept)
    found = [drawn(kept, claim, seed) for seed in shown(range(draws), "draws")]
    certified = [draw for draw in found if draw.certified]
    shape, num = kept.encoder.shape, len(kept.original_NC)
    model = f"{shape.num_layers} layers of {shape.hidden_size}"
    values = {
        "draws": len(found),
        "certified": len(certified),
        "with_exits": sum(draw.exits for draw in found),
        "broken": sum(draw.share > claim.level for draw in found),
        "depth": float(np.mean([draw.depth for draw in certified or found])),
    }
    where = {f"num_{part}": int(share * num) for part, share in PARTS.items()}
    where |= {"num_learn": learn, "confidence": claim.confidence}
    where |= {"changes": kept.same.changes, "commit": git_commit()}
    return Result(
        {"task": task, "model": model, "agree": round(1 - claim.level, 12)}, values, where
    )
