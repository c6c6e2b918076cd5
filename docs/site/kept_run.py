"""The real run from which the site's pictures are drawn: rows and records, without texts.

MPNet, 12 layers, fine-tuned on SST-2; its heads learned the model's answers in one pass over
unlabelled texts (seed 1). `docs/figures/run` holds its rows, the record of the dev set, and the
record of the held-out part on which a certificate is tested.
"""

from __future__ import annotations

from functools import cache

from docs.site.made import ROOT
from eat_lightning.record.record import Record
from eat_lightning.report.study import KeptRow, open_study

FOLDER = ROOT / "docs/figures/run"
NUM_LAYERS = 12
HALF, THIRD = 0.5, 0.33  # budgets


@cache
def measured() -> list[KeptRow]:
    return open_study([str(FOLDER)]).measured


def at_budget(budget: float) -> KeptRow:
    return next(m for m in measured() if m.row.budget == budget)


def at_agreement(agree: float) -> KeptRow:
    return next(m for m in measured() if m.row.agree == agree)


def dial() -> list[KeptRow]:
    """The measured points of the dial, cheapest first."""
    points = [m for m in measured() if m.row.budget is not None]
    return sorted(points, key=lambda m: m.row.flops_ratio)


def fixed_depths() -> list[KeptRow]:
    return [m for m in measured() if m.row.baseline == "fixed depth"]


def at_depth(layer: int) -> KeptRow:
    return next(m for m in fixed_depths() if m.row.depth == layer)


@cache
def held_out() -> Record:
    """The examples that nothing but the certificate has seen."""
    return Record.read(FOLDER / "certificate.parquet")


def accuracy(point: KeptRow) -> float:
    """Percent."""
    return 100 * point.row.score


def agreement(point: KeptRow) -> float:
    """Percent of the answers that equal those of full depth."""
    full_B = point.record.guesses[NUM_LAYERS].argmax(1)
    return float(100 * (point.known.logits_BC.argmax(1) == full_B).mean())
