"""Places of candidates that left a list early."""

import numpy as np
import pytest

from eat_lightning.deploy.serve.call import Scored
from eat_lightning.deploy.serve.reranking import ranked


def scored(logit: float, depth: int, reason: str) -> Scored:
    answer = {"depth": depth, "exit_reason": reason}
    return Scored(answer, np.array([logit]), 5, "regression")


def test_who_got_further_stands_before_and_no_score_rises():
    found = [
        scored(9.0, 1, "outranked"),
        scored(0.5, 6, "last_layer"),
        scored(1.0, 6, "last_layer"),
        scored(0.2, 3, "outranked"),
    ]
    assert ranked(found, raw=True) == [(2, 1.0), (1, 0.5), (3, 0.2), (0, 0.2)]
    assert ranked(found)[3][1] == pytest.approx(1 / (1 + np.exp(-0.2)))


def test_scores_of_other_models_are_compared_whatever_their_depth():
    found = [scored(0.3, 2, "small_error"), scored(0.1, 6, "last_layer")]
    assert ranked(found, raw=True) == [(0, 0.3), (1, 0.1)]
