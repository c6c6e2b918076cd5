"""Agreement of an export with the encoder in answers, depth and retention, per example.

Two kernels differ in their last bits, so an example whose score or confidence lies within `THIN` of
a decision boundary may differ. Such examples are listed; any other difference is an error.

Shapes: B examples, C classes, N packed tokens, E exits so far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.bundle.model import Model
from eat_lightning.data.batching import sorted_batches
from eat_lightning.long_texts import CUT
from eat_lightning.model.contracts import ExitRule, Reduction
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.passes import inference

THIN = 1e-5
CLOSE = 1e-4  # probabilities (of a regression: scores) of fp32 graphs differ by less


@dataclass
class Agreement:
    """Agreement of an export with the run, per example.

    Args:
        rows_B: row in the split.
        labels_differ_B: True where the answers differ.
        depth_differs_B: True where the depths differ.
        retention_differs_B: True where the retentions differ.
        gap_B: largest difference between probabilities.
        margin_B: distance to the nearest decision boundary.
        run_right_B: 1 where the run is correct, 0 where not; NaN for answers that are not classes.
        right_B: the same for the export.
        early_B: True where the run exited early.
    """

    rows_B: np.ndarray
    labels_differ_B: np.ndarray
    depth_differs_B: np.ndarray
    retention_differs_B: np.ndarray
    gap_B: np.ndarray
    margin_B: np.ndarray
    run_right_B: np.ndarray
    right_B: np.ndarray
    early_B: np.ndarray

    @property
    def differs_B(self) -> np.ndarray:
        taken_B = self.depth_differs_B | self.retention_differs_B
        return self.labels_differ_B | taken_B | (self.gap_B > CLOSE)

    @property
    def excused(self) -> list[int]:
        """Rows that differ, with a margin below `THIN`."""
        return self.rows_B[self.differs_B & (self.margin_B < THIN)].tolist()

    @property
    def faults(self) -> list[int]:
        return self.rows_B[self.differs_B & ~(self.margin_B < THIN)].tolist()

    @property
    def answers(self) -> float:
        """Share of equal answers."""
        return float(1 - self.labels_differ_B.mean())

    def summary(self) -> dict[str, Any]:
        return {
            "examples": len(self.rows_B),
            "answers_equal": int((~self.labels_differ_B).sum()),
            "depth_equal": int((~self.depth_differs_B).sum()),
            "retention_equal": int((~self.retention_differs_B).sum()),
            "run_accuracy": share(self.run_right_B),
            "accuracy": share(self.right_B),
            "largest_gap": float(self.gap_B.max()),
            "thin": self.rows_B[self.margin_B < THIN].tolist(),
            "thin_and_different": self.excused,
        }

    @property
    def line(self) -> str:
        """Describe the agreement in one line, with the excused examples."""
        found = self.summary()
        excused = ", ".join(map(str, self.excused))
        return (
            f"of {found['examples']} examples {found['answers_equal']} answers, "
            f"{found['depth_equal']} depths and {found['retention_equal']} retentions are the "
            f"run's; probabilities within {found['largest_gap']:.1g}; {len(found['thin'])} have a "
            f"margin below {THIN:g}{f' and differ: {excused}' if excused else ''}"
        )


def unseen_exits(encoder: AdaptiveEncoder, found: Agreement) -> str:
    """Return a warning if there are early exits that no compared example used, else ""."""
    last = encoder.shape.num_layers
    if found.early_B.any() or not {*encoder.exit.layers} - {last}:
        return ""
    num = len(found.rows_B)
    return f"all {num} examples compared ran to the last layer: early exits were not compared"


def compare(
    encoder: AdaptiveEncoder, backend: Model, split: Any, rows_B: np.ndarray, batch: int
) -> Agreement:
    """Run both on the same examples, longest first: the encoder on token ids, the
    export on text.
    """
    parts, reader = [], replace(backend.reader, long=CUT)  # as the split's
    for chosen in shown(sorted_batches(split.lengths[rows_B], batch), "comparing answers"):
        given_B = rows_B[chosen]
        with inference(encoder):
            ours, margin_B = watched(encoder, split.batch(given_B))
        texts = [list(split.text(i)) for i in given_B]
        for trace in backend.stream(texts, reader=reader):
            there = trace.rows_B
            expected = ours.numpy(guesses=False).take(there)
            rows = given_B[there]
            about = margin_B[there], split.labels[rows], encoder.kind
            parts.append(differences(rows, expected, trace, *about))
    fields = zip(*(vars(part).values() for part in parts), strict=True)
    columns = [np.concatenate(field) for field in fields]
    order_B = columns[0].argsort()
    return Agreement(*(column[order_B] for column in columns))


def differences(
    rows_B: np.ndarray,
    ours: Trace,
    theirs: Trace,
    margin_B: np.ndarray,
    label_B: np.ndarray,
    kind: AnswerKind,
) -> Agreement:
    """Compare the traces of the run (`ours`) and of the export (`theirs`)."""
    logits_2BC = ours.logits_BC, theirs.logits_BC
    gap_B = np.abs(np.subtract(*map(kind.probabilities, logits_2BC))).max(-1)
    # A score without tolerance or cuts is equal where it is close.
    differs_B = ~kind.same(*logits_2BC) if kind.comparable else gap_B > CLOSE
    return Agreement(
        rows_B,
        differs_B,
        ours.depth_B != theirs.depth_B,
        np.abs(ours.retention_B - theirs.retention_B) > 1e-12,
        gap_B,
        margin_B,
        kind.right(ours.logits_BC, label_B),
        kind.right(theirs.logits_BC, label_B),
        ours.depth_B < len(ours.tokens_LB),
    )


def share(right_B: np.ndarray) -> float | None:
    return None if np.isnan(right_B).any() else float(right_B.mean())


def watched(encoder: AdaptiveEncoder, batch: Any) -> tuple[Any, np.ndarray]:
    """Return a trace, and each example's margin: the smallest distance of a confidence, a pruning
    score or the answer's probability from its decision boundary.
    """
    watch = MarginWatch(batch.size)
    reduction, exit = encoder.reduction, encoder.exit
    twin = encoder.replacing(
        reduction=WatchedReduction(reduction, watch), exit=WatchedExit(exit, watch)
    )
    trace = twin(batch)
    answers_B = encoder.kind.margin(trace.logits_BC.numpy())
    return trace, np.minimum(watch.margin_B.numpy(), answers_B)


class MarginWatch:
    """The smallest margin of each example so far, and the examples that have not exited."""

    def __init__(self, size: int):
        self.margin_B = torch.full((size,), float("inf"))
        self.here_B = torch.arange(size)

    def note(self, margin_B: Tensor) -> None:
        self.margin_B[self.here_B] = torch.minimum(self.margin_B[self.here_B], margin_B.float())


class WatchedReduction(Reduction):
    """A reduction that records the gap between the lowest kept and the highest dropped score. A
    reduction without `score` has no margin, so differences it causes are errors.
    """

    def __init__(self, reduction: Reduction, watch: MarginWatch):
        self.reduction, self.watch = reduction, watch
        self.place, self.needs, self.layers = reduction.place, reduction.needs, reduction.layers
        self.wants = reduction.wants

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        shorter = self.reduction(packed, evidence, layer)
        score_N = self.reduction.score(packed, evidence)
        if score_N is not None:
            self.watch.note(score_margin(packed, shorter, score_N.float()))
        return shorter


class WatchedExit(ExitRule):
    """An exit rule that records its margins."""

    def __init__(self, exit: ExitRule, watch: MarginWatch):
        self.exit, self.watch, self.layers = exit, watch, exit.layers

    def decides(self, logits_EBC: Tensor, signals_EBS: Tensor | None = None) -> Tensor:
        reason_B = self.exit.decides(logits_EBC, signals_EBS)
        self.watch.note(self.exit.margin(logits_EBC))
        self.watch.here_B = self.watch.here_B[reason_B == 0]
        return reason_B


def score_margin(packed: Packed, shorter: Packed, score_N: Tensor) -> Tensor:
    """Lowest kept minus highest dropped score of each example, without [CLS]. It is infinite where
    no token was dropped, or none could have been kept instead.
    """
    layout = packed.layout
    kept_N = torch.isin(place_in_text(packed), place_in_text(shorter))
    infinite_B = torch.full((layout.size,), float("inf"))
    rivals_N = score_N.masked_fill(~kept_N | (layout.index_N == 0), float("inf"))
    lowest_B = infinite_B.scatter_reduce(0, layout.segment_N, rivals_N, "amin")
    dropped_N = score_N.masked_fill(kept_N, float("-inf"))
    highest_B = (-infinite_B).scatter_reduce(0, layout.segment_N, dropped_N, "amax")
    return (lowest_B - highest_B).nan_to_num(float("inf"), float("inf"))


def place_in_text(packed: Packed) -> Tensor:
    """Return a unique number for each token of a batch."""
    return packed.layout.segment_N * (1 << 32) + packed.position_N
