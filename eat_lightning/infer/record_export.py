"""The recorded pass of an export: what every exit said of every example, with nobody leaving.

Shapes: B examples of the split (in its order), L layers, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eat_lightning.data.batching import sorted_batches
from eat_lightning.infer.exported import Export
from eat_lightning.infer.later import nobody_leaves
from eat_lightning.infer.onnx_runner import Trace
from eat_lightning.infer.record import Recorded, shown
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import Policy


def everyone(export: Export, split: Any, batch_size: int = 32, title: str = "") -> Trace:
    """All examples of a split at the last layer, and with `exits` what was said on the way."""
    runner, parts, order = export.runner, [], []
    for rows_B in shown(sorted_batches(split.lengths, batch_size), title):
        texts = [list(split.text(i)) for i in rows_B]
        parts.append(runner.run(*runner.tokens(texts), nobody_leaves))
        order.append(rows_B)
    return together(parts).only(np.argsort(np.concatenate(order)))


def together(parts: Sequence[Trace]) -> Trace:
    first = parts[0]
    exits = {
        layer: (
            np.concatenate([part.exits[layer][0] for part in parts]),
            np.concatenate([part.exits[layer][1] for part in parts]),
        )
        for layer in first.exits
    }
    return Trace(
        np.concatenate([part.logits_BC for part in parts]),
        np.concatenate([part.depth_B for part in parts]),
        np.concatenate([part.reason_B for part in parts]),
        np.concatenate([part.tokens_LB for part in parts], axis=1),
        exits,
    )


def record_export(
    export: Export, split: Any, policies: Sequence[Policy], batch_size: int = 32, title: str = ""
) -> Recorded:
    """As `record_pass.record` of an encoder, with a rule under which nobody leaves."""
    trace = everyone(export, split, batch_size, title)
    return Recorded(
        split.labels,
        trace.tokens_LB[0],
        {layer: guess_BC.astype(np.float32) for layer, (guess_BC, _) in trace.exits.items()},
        trace.tokens_LB,
        Never(),
        origins=getattr(split, "origins", None),
        policies=policies,
        batch=split.batch,
    )
