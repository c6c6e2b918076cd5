"""Every pair of an attention, a reduction and an exit rule keeps the promises of a method.

The other files take each method once.
"""

from typing import Any

import pytest
import torch
from helpers.models import combined, method, ragged, tiny

from eat_lightning.new import checks

HEADS: dict[str, Any] = {"layers": [2, 3, 4]}  # more than one exit, wherever a rule stands


@pytest.mark.combined
@pytest.mark.parametrize(("attention", "reduction", "exit"), combined())
def test_every_pair(attention: str, reduction: str, exit: str):
    """A batch, a stream and a replay answer as one example does."""
    encoder = tiny(attention, reduction, exit, head=HEADS)
    whole = checks.answered(encoder)
    checks.batch_is_its_examples(encoder, whole)
    checks.stream_is_the_batch(encoder, whole)
    checks.examples_do_not_touch(encoder, whole)
    # An approximate attention magnifies rounding to other merges: replays are compared without.
    checks.replay_is_the_live_run(encoder.replacing(attention=method("attention", "dense")))


def test_the_easy_ones_are_answered_before_the_hard_ones_are_done():
    encoder, run = tiny("dense", "cls_topk", "confidence"), []
    for number, layer in enumerate(encoder.layers, start=1):
        layer.feed_forward = with_note(layer.feed_forward, run, number)
    with torch.inference_mode():
        seen = [(part.depth_B[0].item(), max(run)) for _, part in encoder.stream(ragged())]
    assert seen == [(3, 3), (4, 4), (6, 6)]


def with_note(called: Any, notes: list[int], note: int) -> Any:
    def noted(*given: Any) -> Any:
        notes.append(note)
        return called(*given)

    return noted
