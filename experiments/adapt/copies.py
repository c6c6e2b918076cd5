"""What altered copies of the texts change for early exits that `eat adapt` trains: how many layers
are run, and how many answers change, on texts that nothing was trained or chosen on.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from eat_lightning.bundle.kernels import in_kernels
from eat_lightning.bundle.original import Original
from eat_lightning.data.unlabelled import cut, read_texts
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.run import splits_of, with_variants
from eat_lightning.long_texts import REFUSE
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit
from experiments.adapt.field import texts_of
from experiments.adapt.levels import settings_of

COMPARED = 4000  # texts
CHANGES = (0.005, 0.01, 0.02)  # shares of changed answers at which exits are compared
TAUS = 1 - np.geomspace(0.5, 1e-6, 200)  # one for all exits


def copies_row(
    base: Path, task: str, settings: Mapping[str, Any], copies: int, epochs: int, rate: float
) -> Result:
    """Train early heads with so many copies of each text, choose tau on the texts for choosing, and
    count layers and changes on `fresh.parquet`.

    Args:
        epochs: times that the texts and their copies are gone through.
        rate: the learning rate.
    """
    columns, began = settings["columns"], perf_counter()
    more = {"columns": columns, "max_length": settings["length"]}
    plan = settings_of(base, base / "copies", 0.99, more)
    heads = plan.heads.model_copy(update={"epochs": [epochs], "lr": [rate]})
    original = Original.open(str(base / "model"), settings["length"], None, long=REFUSE)
    texts = read_texts(plan.texts, columns, plan.most).read_by(original.reader)
    parts = cut(texts.rows, plan.shares)
    encoder = original.encoder(len(columns))
    with TemporaryDirectory(dir=base) as scratch:
        work = Path(scratch)
        splits = splits_of(texts, parts, original, work)
        splits["learn"] = with_variants(texts, parts["learn"], copies, original, work)
        learn_exits(encoder, splits, heads, work, least_steps=1)
    minutes = (perf_counter() - began) / 60
    kernels = in_kernels(encoder, "bf16")
    select = record(kernels, splits["select"], title="texts for choosing")
    fresh = record(kernels, texts_of(base / "fresh.parquet", columns, original, COMPARED))
    values = {"num": len(fresh), "texts": len(parts["learn"]), "minutes": minutes}
    for most in CHANGES:
        rule = laxest(select, most)
        depth, changed = layers_and_changes(fresh, rule)
        values |= {f"layers_{most:g}": depth, f"changed_{most:g}": changed}
    model = f"{original.config['model_type']}, {original.num_layers} layers of {original.width}"
    first: Any = encoder.heads.at(0)
    how = {"copies": copies, "epochs": epochs, "rate": rate, "width": first.dense.out_features}
    return Result({"task": task, "model": model} | how, values, {"commit": git_commit()})


def laxest(select: Record, most: float) -> Confidence:
    """The rule of fewest layers with at most such a share of changes; the strictest if none has."""
    layers = [*select.guesses][:-1]
    kept = []
    for place, tau in enumerate(reversed(TAUS.tolist())):  # of equal ones the strictest
        rule = Confidence(tau=tau, layers=layers)
        depth, changed = layers_and_changes(select, rule)
        if changed <= most or not place:
            kept.append((depth, place, rule))
    return min(kept)[-1]


def layers_and_changes(record: Record, rule: Confidence) -> tuple[float, float]:
    """Return the mean share of layers, and the share of answers that are not the last layer's."""
    trace = record.replay(rule)
    changed_N = ~np.asarray(record.kind.same(trace.logits_BC, record.full_BC))
    return float(trace.depth_B.mean()) / record.num_layers, float(changed_N.mean())
