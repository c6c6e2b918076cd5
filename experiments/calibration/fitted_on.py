"""How many examples a temperature wants: fitted on one part of the calibration cut, or on the two
that budgets are fitted on, and judged on the part of certificates and on dev, which saw neither.

    python -m experiments.calibration.fitted_on RUN...    # data: EAT_DATA

The heads' own temperatures are taken out first. Shapes: B examples, C classes.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pandas import DataFrame
from torch import Tensor

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.report.claims.calibration.metrics import ece, ece_when_calibrated
from eat_lightning.report.intervals import mean_interval
from eat_lightning.runs.run import Run
from eat_lightning.train.callbacks.temperature import fit_temperature
from experiments.bench.tables import markdown

BOUND = 0.02  # EAT, section 7.2: a temperature where the ECE is above
JUDGED_ON = ("certificate", "validation")
WAYS = {"none": (), "one part": (1,), "both parts": (0, 1)}  # of FITTED_ON


class Guesses:
    """One part's logits by layer, as without temperatures, and its labels."""

    def __init__(self, recorded: Record, temperature: dict[int, float]):
        self.labels_B = torch.as_tensor(recorded.labels).long()
        self.logits = {k: torch.as_tensor(z).double() for k, z in recorded.guesses.items()}
        for layer, logits_BC in self.logits.items():
            logits_BC.mul_(temperature[layer])

    def losses_B(self, temperature: dict[int, float]) -> np.ndarray:
        """Cross-entropy of each example, the exits' mean."""
        each = [
            F.cross_entropy(logits_BC / temperature[k], self.labels_B, reduction="none")
            for k, logits_BC in self.logits.items()
        ]
        return torch.stack(each).mean(0).numpy()

    def errors(self, temperature: dict[int, float]) -> tuple[float, int]:
        """ECE in percent, the exits' mean; and at how many it is below the bound, or no worse than
        perfect calibration shows by chance."""
        each, good = [], 0
        for layer, logits_BC in self.logits.items():
            sure_B, guess_B = (logits_BC / temperature[layer]).softmax(1).max(1)
            error = ece(sure_B.numpy(), (guess_B == self.labels_B).numpy())
            good += error <= max(BOUND, ece_when_calibrated(sure_B.numpy()).high)
            each.append(error)
        return 100 * float(np.mean(each)), good


def temperatures(parts: list[Guesses]) -> dict[int, float]:
    """Each exit's temperature, fitted on these parts; 1 without any, or where none is needed."""
    if not parts:
        return defaultdict(lambda: 1.0)
    labels_B = torch.cat([part.labels_B for part in parts])
    found = {}
    for layer in parts[0].logits:
        logits_BC: Tensor = torch.cat([part.logits[layer] for part in parts])
        sure_B, guess_B = logits_BC.softmax(1).max(1)
        needed = ece(sure_B.numpy(), (guess_B == labels_B).numpy()) > BOUND
        found[layer] = fit_temperature(logits_BC, labels_B) if needed else 1.0
    return found


def lines(path: str) -> Iterator[dict[str, Any]]:
    """One line for each way and each part that it is judged on."""
    run = Run.open(path)
    encoder, _ = run.model()
    data = run.data(dir=os.environ.get("EAT_DATA"))
    own = {int(k): float(head.temperature) for k, head in encoder.heads.items()}
    seen = {
        part: Guesses(record(encoder.eval(), data.split(part)), own)
        for part in (*FITTED_ON, *JUDGED_ON)
    }
    found = {way: temperatures([seen[FITTED_ON[i]] for i in parts]) for way, parts in WAYS.items()}
    for part in JUDGED_ON:
        base_B = seen[part].losses_B(found["one part"])
        for way, temperature in found.items():
            loss_B = seen[part].losses_B(temperature)
            change = mean_interval(1000 * (loss_B - base_B))
            error, good = seen[part].errors(temperature)
            ends = f"({change.low:+.1f} to {change.high:+.1f})"
            yield {
                "run": run.name[:24],
                "judged on": part,
                "examples": len(loss_B),
                "fitted on": f"{way}, {sum(len(seen[FITTED_ON[i]].labels_B) for i in WAYS[way])}",
                "ECE, %": f"{error:.2f}",
                "exits that pass": f"{good} of {len(own)}",
                "loss, thousandths": f"{1000 * loss_B.mean():.1f}",
                "against one part": f"{change.value:+.1f} {ends}",
            }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(markdown(DataFrame([line for path in sys.argv[1:] for line in lines(path)])))
