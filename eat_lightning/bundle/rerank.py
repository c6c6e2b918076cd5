"""Run lists of candidates through the encoder, dropping the lowest-ranked ones between layers.

Shapes: B candidates of all lists of a batch, G of a part.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.reason import FIRST_REASON, Reason, reason_names
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.trace import Trace
from eat_lightning.record.lists import REASONS, Counts, goes_on


@torch.inference_mode()
def rerank(
    encoder: AdaptiveEncoder, batch: Batch, list_B: Int[np.ndarray, " b"], counts: Counts
) -> Trace:
    """Run whole lists through the encoder. Dropped candidates cost nothing in later layers.

    Args:
        encoder: gives a score, and has a head at each depth of the counts.
        batch: pairs of a query and a candidate.
        list_B: ids of the lists, ascending.
        counts: number of candidates that continue after each depth.
    """
    recorder = encoder.recorder(batch, PassOptions(leave=True))
    packed = encoder.start(batch, recorder)
    last = len(encoder.layers)
    for depth in range(last):
        packed, _ = encoder.step(packed, recorder, depth)
        if depth not in counts:
            continue
        packed = encoder.guess(packed, recorder, depth)
        here_G = recorder.here_B
        score_G = recorder.guesses[depth][here_G, 0].float().numpy()
        stays_G = goes_on(counts, depth, score_G, list_B[here_G.numpy()])
        if not stays_G.all():
            reason_G = np.where(stays_G, int(Reason.STAYS), FIRST_REASON)
            packed = packed.only(recorder.leave(depth, torch.from_numpy(reason_G))[1])
    packed, _ = encoder.step(packed, recorder, last)
    encoder.guess(packed, recorder, last)
    recorder.leave(last, torch.full_like(recorder.here_B, int(Reason.LAST_LAYER)))
    return replace(recorder.end(), names=reason_names(REASONS))
