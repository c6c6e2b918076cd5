"""Every pair of an attention, a reduction and an exit rule keeps the promises of a method, and so
do exits before the first layer, at depth 0.

The other files take each method once.
"""

from typing import Any

import pytest
import torch
from helpers.models import combined, method, ragged, spread, tiny

from eat_lightning.bundle.depth_batching import Pool
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.reduction.first import First
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.recorder import ALL_EXITS
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


LAYERS_0 = [0, 2, 4]
HEAD_0: dict[str, Any] = {"layers": LAYERS_0, "pool": "mean", "activation": None}
LENGTHS = (5, 9, 12, 7, 16, 8, 11, 6)


def encoder_at_0(reduction: str = "none", tau: float = 0.6, **head: Any) -> AdaptiveEncoder:
    """Some leave at 0, some later, some at the end."""
    encoder = tiny("dense", reduction, "never", head=HEAD_0 | head)
    spread(encoder.heads)
    encoder = encoder.replacing(exit=Confidence(tau, LAYERS_0))
    return encoder.eval()


def test_the_guess_at_0_is_that_of_the_pooled_embedding():
    encoder, batch = encoder_at_0(), ragged(LENGTHS)
    x_ND = encoder.embedding(batch, batch.layout().index_N)
    means_BD = torch.stack([x_TD.mean(0) for x_TD in x_ND.split(batch.lengths_B.tolist())])
    expected_BC = encoder.heads["0"].classes(means_BD)
    torch.testing.assert_close(encoder(batch, ALL_EXITS).guesses[0], expected_BC)


@pytest.mark.parametrize("reduction", ["none", "norm_topk", "first"])
def test_promises_hold_at_depth_0(reduction: str):
    """Batch of N as N of one, stream, replay, saving, a depth-wise pool, and FLOPs that rise."""
    encoder = encoder_at_0(reduction)
    if reduction == "first":  # acts on the embedding, behind the exit there
        encoder = encoder.replacing(reduction=First(0.4, [0, 2]))
    depths = encoder(ragged(LENGTHS)).depth_B.tolist()
    assert 0 in depths
    assert len({*depths}) > 1
    checks.batch_is_its_examples(encoder)
    checks.stream_is_the_batch(encoder)
    checks.replay_is_the_live_run(encoder)
    checks.what_is_saved_comes_back(encoder)
    checks.flops_fall_with_the_work(encoder)
    batch = ragged(LENGTHS)
    trace = encoder(batch)
    with torch.inference_mode():
        pool = Pool(encoder, size=3)
        done = [*pool.add(range(len(LENGTHS)), batch), *pool.flush()]
    for names, part in done:
        assert part.depth_B.tolist() == trace.depth_B[names].tolist()
        torch.testing.assert_close(part.logits_BC, trace.logits_BC[names], atol=1e-4, rtol=1e-4)
