"""Reductions that join tokens, by hand: ToMe, and Funnel's pooling step."""

import pytest
import torch
from helpers.models import packed, ragged, tiny

from eat_lightning.methods.reduction.mean_pool import MeanPool
from eat_lightning.methods.reduction.tome import ToMe
from eat_lightning.model.evidence import Evidence


def pooled(lengths: list[int], strength: float = 1.0, **changes):
    rows = packed([[float(i)] for i in range(sum(lengths))], lengths, strength)
    return MeanPool(**{"layers": [1], **changes})(rows, Evidence(), 1)


def test_pairs_become_their_mean_and_cls_stands_apart():
    short = pooled([6, 3, 1, 2])
    assert short.x_ND.flatten().tolist() == [0, 1.5, 3.5, 5, 6, 7.5, 9, 10, 11]
    assert short.layout.lengths_B.tolist() == [4, 2, 1, 2]
    assert short.size_N.tolist() == [1, 2, 2, 1, 1, 2, 1, 1, 1]
    assert short.position_N.tolist() == [0, 1, 3, 5, 0, 1, 0, 0, 1]
    assert short.weight_N is None  # plain means: no key counts twice


def test_a_second_step_is_the_mean_of_all():
    once = pooled([6])
    twice = MeanPool(layers=[1])(once, Evidence(), 1)
    assert twice.x_ND.flatten().tolist() == [0, 2.5, 5]  # of 1 2 3 4


@pytest.mark.parametrize(
    ("ratio", "strength", "expected"),
    [
        (0.25, 1.0, [0, 1, 2, 3.5, 5, 6, 7.5]),  # every second pair
        (0.5, 0.5, [0, 1, 2, 3.5, 5, 6, 7.5]),
        (0.0, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (0.5, 0.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_less_than_half_are_pairs_spread_evenly(ratio: float, strength: float, expected: list):
    assert pooled([9], strength, ratio=ratio).x_ND.flatten().tolist() == expected


# One example: [CLS] a b c d e [SEP]; first set: places 0 2 4 6, second: 1 3 5.
KEYS = torch.tensor(
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [1.0, 0.2], [0.0, -1.0], [1.0, 0.0]]
)


def merge(ratio: float, **changes):
    rows = packed([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0]], [7])
    return ToMe(ratio=ratio, layers=[1], **changes)(rows, Evidence(keys_NK=KEYS), 1)


def test_the_most_similar_pair_merges_first():
    once = merge(0.15)  # floor(1.05) = 1: place 2 into 3 (cosine .995); 4 into 1 has .98
    assert once.x_ND.flatten().tolist() == [0, 1, 2.5, 4, 5, 6]
    assert once.size_N.tolist() == [1, 1, 2, 1, 1, 1]
    assert once.position_N.tolist() == [0, 1, 3, 4, 5, 6]
    torch.testing.assert_close(once.weight_N, once.size_N.log())


def test_special_tokens_merge_with_nothing():
    most = merge(0.5)  # three wanted, two free tokens in the first set
    assert most.x_ND.flatten().tolist() == [0, 2.5, 2.5, 5, 6]
    assert most.size_N.tolist() == [1, 2, 2, 1, 1]


def test_sizes_weigh_the_mean():
    rows = packed([[0.0], [1.0], [4.0], [9.0]], [4])
    rows.size_N = torch.tensor([1.0, 3.0, 1.0, 1.0])
    joined = ToMe(ratio=0.25, layers=[1])(rows, Evidence(keys_NK=torch.ones(4, 2)), 1)
    assert joined.x_ND.flatten().tolist() == [0, (3 * 1 + 4) / 4, 9]
    assert joined.size_N.tolist() == [1, 4, 1]


def test_tokens_merge_within_their_segment():
    rows = packed([[0.0]] * 7, [7])
    rows.special_N[3] = True  # [CLS] a b [SEP] c d [SEP]: b at 2 may join a at 1, c at 4 d at 5
    keys = torch.tensor([[1.0, 0.0]] * 7)
    joined = ToMe(ratio=0.5, layers=[1])(rows, Evidence(keys_NK=keys), 1)
    assert joined.position_N.tolist() == [0, 1, 3, 5, 6]


def test_merged_tokens_weigh_in_attention_and_in_pooling():
    for pool in ("cls", "mean"):
        encoder, batch = tiny("dense", "tome", head={"pool": pool}), ragged()
        weighed_BC = encoder(batch).logits_BC
        encoder = encoder.replacing(reduction=ToMe(0.3, [1, 2, 4], proportional=False))
        assert not torch.allclose(encoder(batch).logits_BC, weighed_BC, atol=1e-4)
