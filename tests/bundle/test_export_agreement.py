"""What an export may differ in, and how thin a margin is, by hand."""

import numpy as np
import pytest
import torch
from helpers.exports import small
from helpers.models import alone, packed, ragged

from eat_lightning.answer_kind import Score
from eat_lightning.bundle.graphs.agreement import (
    Agreement,
    differences,
    score_margin,
    unseen_exits,
    watched,
)
from eat_lightning.model.trace import Trace


def agreement(early: int = 0) -> Agreement:
    """Of three examples; the first ones of them left early."""
    differ, equal = np.array([True, True, False]), np.zeros(3, bool)
    return Agreement(
        rows_B=np.array([10, 20, 30]),
        labels_differ_B=differ,
        depth_differs_B=equal,
        retention_differs_B=equal,
        gap_B=np.array([0.0, 0.0, 2e-4]),
        margin_B=np.array([1e-6, 1e-3, 0.5]),
        run_right_B=np.array([1.0, 1.0, 0.0]),
        right_B=np.array([0.0, np.nan, 0.0]),
        early_B=np.arange(3) < early,
    )


def test_agreement_excuses_thin_margins_only():
    found = agreement()
    assert (found.excused, found.faults) == ([10], [20, 30])
    assert found.answers == pytest.approx(1 / 3)
    assert found.summary()["thin"] == [10]
    assert found.summary()["run_accuracy"] == pytest.approx(2 / 3)
    assert found.summary()["accuracy"] is None  # of one example no label is known


@pytest.mark.parametrize(
    ("kind", "differ"),
    [
        (Score(tolerance=0.5), [False, True]),
        (Score(cuts=(1.2,)), [True, True]),
        (Score(), [True, True]),
    ],
)
def test_scores_differ_by_more_than_the_tolerance_or_across_a_cut(kind: Score, differ: list[bool]):
    """An engine in int8 gives other digits of the same answer; of nothing to compare by, a digit
    is a difference. Scores 1.0 and 3.0 become 1.25 and 1.0."""

    def trace(*scores: float) -> Trace:
        logits_BC = np.array([[score] for score in scores], np.float32)
        two_B = np.full(2, 2)
        return Trace(logits_BC, two_B, np.full((2, 2), 4), two_B)

    unknown_B = np.full(2, np.nan)
    given = np.arange(2), trace(1.0, 3.0), trace(1.25, 1.0), unknown_B, unknown_B
    assert differences(*given, kind).labels_differ_B.tolist() == differ


@pytest.mark.parametrize(("early", "layers", "warns"), [(0, [2], 1), (1, [2], 0), (0, [], 0)])
def test_exits_that_nobody_took_were_not_compared(early: int, layers: list[int], warns: int):
    encoder, found = small("dense", "none", "confidence"), agreement(early=early)
    encoder.exit.layers = layers
    line = "all 3 examples compared ran to the last layer: early exits were not compared"
    assert unseen_exits(encoder, found) == line * warns


def test_score_margins_by_hand():
    """[CLS] 9 counts for nothing; of 5 3 4 the 3 is dropped, so that 4 leads by 1; of the second
    example nothing is dropped; in the third an infinite score is kept before 2, and 7 dropped."""
    scores = [9.0, 5.0, 3.0, 4.0, 1.0, 2.0, 8.0, float("inf"), 7.0]
    whole = packed([[0.0]] * 9, [4, 2, 3])
    rest = whole.take(torch.tensor([0, 1, 3, 4, 5, 6, 7]), torch.tensor([3, 2, 2]))
    margins = score_margin(whole, rest, torch.tensor(scores))
    assert margins.tolist() == [1.0, float("inf"), float("inf")]


def test_margins_follow_those_still_here():
    """Each example's margin in a batch is the one it has alone."""
    encoder, batch = small("dense", "norm_topk", "confidence"), ragged((9, 3, 14, 5, 7, 11))
    with torch.no_grad():
        trace, margin_B = watched(encoder, batch)
        singles = [watched(encoder, one) for one in alone(batch)]
    assert len(set(trace.depth_B.tolist())) > 1
    assert trace.depth_B.tolist() == [int(one.depth_B) for one, _ in singles]
    expected = np.concatenate([margin for _, margin in singles])
    np.testing.assert_allclose(margin_B, expected, atol=1e-5)
