"""How often a certificate holds: one pass's answers, and its texts drawn anew into parts.

Shapes: N texts, of a part or of all kept ones, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import binomtest

from eat_lightning.config import CONFIG_DIR, parsed
from eat_lightning.deploy.adapt.demand import Demand
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.forms import Form, Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.deploy.adapt.same_answer import SameAnswer
from eat_lightning.deploy.adapt.search import AdaptCandidate, Search
from eat_lightning.deploy.adapt.texts import read_texts
from eat_lightning.deploy.adapt.work import Passed, Work
from eat_lightning.infer.recorded import Outcome, Recorded
from eat_lightning.long_texts import REFUSE
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import at_point
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.progress import shown
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.runs.run import git_commit

DTYPES = {"fp32": 1.0, "int8": 0.5}  # cost of a layer: an assumption, since no time is measured
PARTS = {"select": 0.2, "certify": 0.4}  # of the kept texts; nothing sees the others
SELECT = 200  # texts that judge the heads while they learn


@dataclass
class Kept:
    """Answers to all kept texts.

    Args:
        original_NC: transformers' logits.
        recorded: guesses of our heads, by dtype.
    """

    same: SameAnswer
    encoder: AdaptiveEncoder
    original_NC: np.ndarray
    recorded: Mapping[str, Recorded]

    @classmethod
    def of(cls, forms: Forms, original_NC: np.ndarray, folder: Path, split: Any) -> Kept:
        """Run the passes, or read those that were kept."""
        paths = {dtype: folder / f"recorded-{dtype}.parquet" for dtype in DTYPES}
        for dtype, path in paths.items():
            if not path.is_file():
                forms.recorded(dtype, split).to_parquet(path)
        recorded = {dtype: Recorded.read(path) for dtype, path in paths.items()}
        return cls(forms.original.same, forms.encoder, original_NC, recorded)

    def outcome(self, candidate: AdaptCandidate, rows_N: np.ndarray) -> Outcome:
        rule: Any = Never()
        if candidate.point is not None:
            rule = at_point(self.encoder.exit, candidate.point)
        return self.recorded[candidate.form.dtype].take(rows_N).under(rule)

    def changed(self, candidate: AdaptCandidate, rows_N: np.ndarray) -> np.ndarray:
        logits_NC = self.outcome(candidate, rows_N).logits_BC
        return self.same.changed(self.original_NC[rows_N], logits_NC)


class KeptForms(Forms):
    """The forms whose answers are kept, and which nothing runs any more."""

    def __init__(self, encoder: AdaptiveEncoder):
        self.encoder = encoder

    @property
    def num_layers(self) -> int:
        return self.encoder.shape.num_layers

    def available(self, engines: list[str]) -> list[Form]:
        return [Form("torch", dtype) for dtype in DTYPES]


@dataclass
class Redraw(Search):
    """The search of `eat adapt`, whose answers are kept ones and whose times are layers."""

    kept: Any = None
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    def passed(self, candidate: AdaptCandidate, part: str) -> Passed:
        outcome = self.kept.outcome(candidate, self.rows[part])
        return Passed(outcome.logits_BC, outcome.depth_B)

    def recorded(self, dtype: str) -> Recorded:
        return self.kept.recorded[dtype].take(self.rows["select"])

    def time(self, name: str, candidates: Any, most: Any = None) -> None:
        last = self.forms.num_layers
        for candidate in candidates:
            depth = last if candidate.point is None else candidate.depth
            is_first = candidate.form.engine == "transformers"
            cost = 1.01 * last if is_first else depth * DTYPES[candidate.form.dtype]
            candidate.ms = {"1": cost, "32": cost}


@dataclass(frozen=True)
class Draw:
    """Outcome of one draw of the parts.

    Args:
        name: of the chosen candidate; "": nothing is certified.
        depth: layers that it runs, in mean over *select*.
        exits: it has some.
        share: of all kept texts whose answer changes, which the promise is about.
        num_fresh, fresh: texts that nothing saw, and how many of their answers change.
    """

    name: str
    depth: float = 0.0
    exits: bool = False
    share: float = 0.0
    num_fresh: int = 0
    fresh: int = 0


def drawn(kept: Kept, demand: Demand, seed: int) -> Draw:
    """Draw the parts, choose and certify."""
    order_N = np.random.default_rng(seed).permutation(len(kept.original_NC))
    ends = np.cumsum([share * len(order_N) for share in PARTS.values()]).astype(int)
    select, certify, fresh_N = np.split(order_N, ends)
    rows = {"select": select, "certify": certify}
    original = {part: kept.original_NC[rows_N] for part, rows_N in rows.items()}
    given: Any = (KeptForms(kept.encoder), kept.same, demand, rows, original, None, 1, 1, {})
    search = Redraw(*given, kept=kept, rows=rows)
    certified = [candidate for candidate in search.run([]) if candidate.holds]
    if not certified:
        return Draw("")
    chosen = min(certified, key=search.speed)
    changed_N, num_fresh = kept.changed(chosen, order_N), len(fresh_N)
    about = str(chosen.form), chosen.depth, chosen.point is not None, float(changed_N.mean())
    return Draw(*about, num_fresh, int(changed_N[-num_fresh:].sum()))


def passes(folder: Path, task: str, settings: Any, learn: int, kept: int) -> Kept:
    """Make or read all answers. Texts are the first ones of `texts.parquet`, which are shuffled."""
    given = settings["length"], settings.get("tolerance")
    original = Original.open(str(folder / "model"), *given, long=REFUSE)
    path = str(folder / "texts.parquet")
    texts = read_texts(path, settings["columns"], learn + SELECT + kept).read_by(original.reader)
    places = np.split(np.arange(len(texts)), [learn, learn + SELECT])
    parts = dict(zip(("learn", "select", "kept"), places, strict=True))
    work = Work.open(folder / "answers", {"task": task, "learn": learn, "kept": kept})
    splits = splits_of(texts, parts, original, work.folder)
    theirs = deployed_original(original)
    answers = work.passed("original kept", splits["kept"], theirs.answers).logits_NC
    encoder = original.encoder(len(texts.columns))
    config = yaml.safe_load(Path(CONFIG_DIR, "adapt.yaml").read_text("utf-8"))
    heads = parsed(OnePassSettings, config["heads"])
    learn_exits(encoder, splits, heads, work.folder, config["least_steps"])
    run = scratch_run(work.folder / "run", original, encoder, texts.columns)
    return Kept.of(Forms(original, encoder, run, 1), answers, work.folder, splits["kept"])


def redrawn(
    folder: Path, task: str, settings: Any, demand: Demand, draws: int, learn: int, num_kept: int
) -> Result:
    """Draw the parts so often, and count the certificates that are broken."""
    kept = passes(folder, task, settings, learn, num_kept)
    found = [drawn(kept, demand, seed) for seed in shown(range(draws), "draws")]
    shape = kept.encoder.shape
    num_select, num_certify = (int(share * len(kept.original_NC)) for share in PARTS.values())
    return Result(
        {
            "task": task,
            "model": f"{shape.num_layers} layers of {shape.hidden_size}",
            "agree": demand.agree,
        },
        counted(found, 1 - demand.agree) | of_first(found[0]),
        {
            "num_learn": learn,
            "num_select": num_select,
            "num_certify": num_certify,
            "confidence": demand.confidence,
            "changes": kept.same.changes,
            "commit": git_commit(),
        },
    )


def counted(draws: Sequence[Draw], level: float) -> dict[str, Any]:
    """Draws that certified something, that have exits, and of which more changes than may."""
    certified = [draw for draw in draws if draw.name]
    return {
        "draws": len(draws),
        "certified": len(certified),
        "with_exits": sum(draw.exits for draw in draws),
        "broken": sum(draw.share > level for draw in draws),
        "depth": float(np.mean([draw.depth for draw in certified])) if certified else 0.0,
    }


def of_first(draw: Draw) -> dict[str, Any]:
    """What the first draw chose, and what changes where nothing looked (percent, exact)."""
    found = binomtest(draw.fresh, max(draw.num_fresh, 1)).proportion_ci(0.95)
    percent = 100 * draw.fresh / max(draw.num_fresh, 1)
    return {
        "first_name": draw.name + (", exits" if draw.exits else ""),
        "first_depth": draw.depth,
        "num_fresh": draw.num_fresh,
        "fresh_changed": draw.fresh,
        "fresh_percent": Interval(percent, 100 * found.low, 100 * found.high),
    }
