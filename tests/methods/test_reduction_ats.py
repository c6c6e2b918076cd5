"""ATS: points on a cumulative distribution, by hand."""

import pytest
import torch
from helpers.models import packed

from eat_lightning.methods.reduction.ats import AdaptiveTokenSampling, sampled
from eat_lightning.model.evidence import Evidence


def stays(significance: list[float], most: int) -> list[int]:
    found = sampled(torch.tensor([significance]).double(), torch.tensor([most]), most)
    return found[0].nonzero().flatten().tolist()


def test_equal_tokens_are_sampled_evenly():
    # Cumulated .25 .5 .75 1; three points: .25 .625 1, and .625 is nearest to .5, the earlier.
    assert stays([0.0, 1.0, 1.0, 1.0, 1.0], 3) == [1, 2, 4]


def test_points_that_meet_in_one_token_keep_it_alone():
    # Cumulated .05 .1 .15 1; points .05 .3667 .6833 1: to .15 and 1 two points each but the first.
    assert stays([0.0, 0.85, 0.05, 0.05, 0.05], 4) == [1, 2, 4]


EVIDENCE = Evidence(
    cls_N=torch.tensor([0.5, 0.1, 0.2, 0.1, 0.1, 0.9, 0.1]),
    value_norm_N=torch.tensor([9.0, 8.5, 0.25, 0.5, 0.5, 1.0, 1.0]),
)


def rows(strength: float = 1.0):
    return packed([[float(i)] for i in range(7)], [5, 2], strength)


def test_significance_is_attention_times_value_norm():
    made = AdaptiveTokenSampling(samples=0.75, layers=[1], least=2)
    # .85 .05 .05 .05 of the first (3 points: .05 .525 1); the second is short enough to stay whole.
    assert made(rows(), EVIDENCE, 1).x_ND.flatten().tolist() == [0, 1, 2, 4, 5, 6]
    torch.testing.assert_close(
        made._significance(rows(), EVIDENCE)[0].float(), torch.tensor([0, 0.85, 0.05, 0.05, 0.05])
    )


@pytest.mark.parametrize(
    ("changes", "strength"), [({"samples": 1.0}, 1.0), ({}, 0.0), ({"least": 5}, 1.0)]
)
def test_nothing_is_sampled_where_all_may_stay(changes: dict, strength: float):
    made = AdaptiveTokenSampling(**{"samples": 0.5, "layers": [1], "least": 2, **changes})
    given = rows(strength)
    assert made(given, EVIDENCE, 1) is given
