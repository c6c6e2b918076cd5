"""Certificates of a study's runs: the chosen exits, and their risk on other examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.bundle.certificates import certificate_of
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.record.certificate import FOLDER, Certificate
from eat_lightning.report.cells import percent_text
from eat_lightning.report.intervals import Interval, mean_interval, wilson
from eat_lightning.report.study import KeptRow, Study


def setting_of(measured: KeptRow) -> str:
    """ "tau 0.9", "full depth" """
    never = measured.row.exit.kind == "never" and not measured.row.baseline
    return "full depth" if never else measured.row.title


@dataclass(frozen=True)
class Held:
    """A certificate, the row of the exits that it chose, and their risk on that row's split."""

    certificate: Certificate
    measured: KeptRow
    risk: Interval

    @property
    def exits(self) -> str:
        return "full depth" if self.certificate.fallback else setting_of(self.measured)

    @property
    def answer(self) -> str:
        """The chosen exits and their risk, as a sentence."""
        risk = percent_text(self.risk)
        return f"{self.certificate.name}: {self.exits}, on validation {risk}."


def held_by(study: Study, measured: Sequence[KeptRow]) -> list[Held]:
    """Return the certificates whose exits and reduction one of these rows has. For a certificate at
    full depth this is the row without exits.
    """
    found = []
    for run in study.runs:
        here = [m for m in measured if m.folder == run.folder and m.outcome is not None]
        for path in sorted((run.folder / FOLDER).glob("*.json")):
            held = certificate_of(run, path.stem)
            rows = [
                m
                for m in here
                if all(getattr(m.row, slot) == held.holds_for[slot] for slot in MODEL_SLOTS)
            ]
            found += [Held(held, m, risk_of(held, m)) for m in rows[:1]]
    return found


def risk_of(held: Certificate, measured: KeptRow) -> Interval:
    """Return the risk with its 95 % interval over examples: Wilson's for losses of 0 or 1, else
    bootstrap.
    """
    record, claim = measured.record, held.claim
    full_B = record.guesses[measured.row.num_layers].argmax(1)
    early_B, labels_B = measured.known.logits_BC.argmax(1), record.labels
    losses_B = claim.losses(full_B, early_B, labels_B)
    losses_B = losses_B[~np.isnan(losses_B)]
    if claim.low < 0:
        return mean_interval(losses_B)
    return wilson(float(losses_B.sum()), len(losses_B))
