"""How often a certificate holds: one pass's answers, and its texts drawn anew into parts.

Shapes: N texts, of a part or of all kept ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.deploy.adapt.demand import Demand
from eat_lightning.deploy.adapt.forms import Form, Forms
from eat_lightning.deploy.adapt.same_answer import SameAnswer
from eat_lightning.deploy.adapt.search import AdaptCandidate, Search
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import at_point
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record

DTYPES = {"fp32": 1.0, "int8": 0.5}  # cost of a layer: an assumption, since no time is measured
PARTS = {"select": 0.2, "certify": 0.4}  # of the kept texts; nothing sees the others


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
    recorded: Mapping[str, Record]

    @classmethod
    def of(cls, forms: Forms, original_NC: np.ndarray, folder: Path, split: Any) -> Kept:
        """Run the passes, or read those that were kept."""
        for dtype in DTYPES:
            path = folder / f"recorded-{dtype}.parquet"
            if not path.is_file():
                forms.record(dtype, split).to_parquet(path)
        recorded = {name: Record.read(folder / f"recorded-{name}.parquet") for name in DTYPES}
        return cls(forms.original.same, forms.encoder, original_NC, recorded)

    def outcome(self, candidate: AdaptCandidate, rows_N: np.ndarray) -> Trace:
        rule: Any = Never()
        if candidate.point is not None:
            rule = at_point(self.encoder.exit, candidate.point)
        return self.recorded[candidate.form.dtype].take(rows_N).replay(rule)

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

    def trace(self, candidate: AdaptCandidate, part: str) -> Trace:
        return self.kept.outcome(candidate, self.rows[part])

    def record(self, dtype: str) -> Record:
        return self.kept.recorded[dtype].take(self.rows["select"])

    def time(self, name: str, candidates: Any) -> None:
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
    forms = KeptForms(kept.encoder)
    original = {part: kept.original_NC[rows_N] for part, rows_N in rows.items()}
    unused: Any = None
    search = Redraw(
        forms, kept.same, demand, rows, original, unused, 1, 1, {}, kept=kept, rows=rows
    )
    certified = [candidate for candidate in search.run([]) if candidate.holds]
    if not certified:
        return Draw("")
    chosen = min(certified, key=search.speed)
    changed_N = kept.changed(chosen, order_N)
    num_fresh = len(fresh_N)
    return Draw(
        str(chosen.form),
        chosen.depth,
        chosen.point is not None,
        float(changed_N.mean()),
        num_fresh,
        int(changed_N[-num_fresh:].sum()),
    )
