"""Reductions that keep the highest scores: who stays by hand, and the step they share."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
import torch
from helpers.models import packed, ragged, tiny

from eat_lightning.methods.reduction._evolution import Found, evolve, hull, pareto
from eat_lightning.methods.reduction._topk import kept_lengths
from eat_lightning.methods.reduction.ats import AdaptiveTokenSampling, sampled
from eat_lightning.methods.reduction.cls_topk import ClsTopK
from eat_lightning.methods.reduction.first import First
from eat_lightning.methods.reduction.lengthdrop import LengthDrop
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.methods.reduction.random import Random
from eat_lightning.methods.reduction.received_topk import ReceivedTopK
from eat_lightning.methods.reduction.spatten import SpAtten
from eat_lightning.model.evidence import Evidence, gather_evidence
from eat_lightning.model.packed import Batch, Layout, example_noted

CLS = {"cls_N": [0.0, 0.4, 0.3, 0.2, 0.1]}  # the last token is [SEP]
RECEIVED = {"received_N": [0.0, 0.1, 0.9, 0.5, 0.9, 0.3, 0.2]}


@pytest.mark.parametrize(
    ("reduction", "norms", "lengths", "evidence", "kept"),
    [
        (NormTopK(0.4, [1]), [9, 1, 5, 2, 4, 3], [6], {}, [0, 2, 4, 5]),  # ceil(0.6 x 5) = 3
        (NormTopK(0.9, [1]), [0.1, 1, 2, 3], [4], {}, [0, 3]),  # [CLS] though it is smallest
        (NormTopK(0.5, [1]), [1, 2, 2, 2, 2], [5], {}, [0, 1, 2]),  # of equal ones the earlier
        (
            NormTopK(0.5, [1]),  # each example by itself; of 3 others ceil(1.5) stay
            [1, 5, 6, 7, 8, 1, 1, 1, 3, 2],
            [5, 1, 4],
            {},
            [0, 3, 4, 0, 0, 2, 3],
        ),
        (ClsTopK(0.5, [1], protect_sep=False), [0] * 5, [5], CLS, [0, 1, 2]),
        (ClsTopK(0.5, [1], protect_sep=True), [0] * 5, [5], CLS, [0, 1, 4]),
        (ReceivedTopK(0.5, [1]), [0] * 7, [5, 2], RECEIVED, [0, 2, 4, 0, 1]),
        (First(0.5, [1]), [0] * 7, [5, 2], {}, [0, 1, 2, 0, 1]),
        (LengthDrop(0.25, [1]), [0] * 4, [4], {"received_N": [0.0, 0.3, 0.1, 0.2]}, [0, 1, 3]),
    ],
)
def test_who_stays(
    reduction: Any,
    norms: list[float],
    lengths: list[int],
    evidence: dict[str, list[float]],
    kept: list[int],
):
    vectors = packed([[0.0, norm] for norm in norms], lengths)
    given = Evidence(**{name: torch.tensor(values) for name, values in evidence.items()})
    assert reduction(vectors, given, 1).position_N.tolist() == kept


def test_count_is_that_of_exact_arithmetic():
    lengths = list(range(1, 513))
    ratios = ("0", "0.05", "0.1", "0.29", "0.3", "0.5", "0.57", "0.7", "0.99")
    for ratio, strength in product(ratios, ("1", "0.5", "0.1", "0.7")):
        p = Fraction(ratio) * Fraction(strength)
        expected = [1 + math.ceil((1 - p) * (t - 1)) for t in lengths]
        strength_B = torch.full((512,), float(strength), dtype=torch.float64)
        found = kept_lengths(torch.tensor(lengths), float(ratio), strength_B).tolist()
        assert found == expected, (ratio, strength)


def test_a_ratio_for_each_layer():
    reduction = NormTopK(ratio=[0.2, 0.6], layers=[1, 3])
    vectors = packed([[float(i)] for i in range(6)], [6])
    assert reduction(vectors, Evidence(), 1).layout.lengths_B.tolist() == [5]
    assert reduction(vectors, Evidence(), 3).layout.lengths_B.tolist() == [3]


def test_scores_in_fp32_of_bf16_vectors():
    """Norms 256 and 256.002 are one number in bf16, and the tie would go to the first."""
    vectors = packed([[1.0, 0.0], [256.0, 0.0], [256.0, 1.0]], [3])
    vectors = vectors.with_x(vectors.x_ND.bfloat16())
    out = NormTopK(0.5, [2])(vectors, Evidence(), 2)
    assert out.position_N.tolist() == [0, 2]
    assert out.x_ND.dtype == torch.bfloat16


def test_gradient_flows_to_the_kept_only():
    vectors = packed([[1.0], [5.0], [2.0], [3.0]], [4])
    vectors.x_ND.requires_grad_()
    NormTopK(0.5, [2])(vectors, Evidence(), 2).x_ND.sum().backward()
    assert vectors.x_ND.grad.flatten().tolist() == [1, 1, 0, 1]


def test_row_of_cls_averaged_over_heads():
    layout = Layout(torch.tensor([3]), torch.device("cpu"))
    rows = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    q = torch.zeros(1, 2, 3, 3)
    q[0, :, 0] = rows.log() * 3**0.5
    k = torch.eye(3).expand(1, 2, 3, 3)
    evidence = gather_evidence(layout, q, k, k, None, frozenset({"cls"}))
    torch.testing.assert_close(evidence.cls_N, rows.mean(0))
    assert [*vars(evidence)] == ["cls_N"]


def received(q: torch.Tensor, lengths: list[int]) -> list[float]:
    """Attention received by each token where key j is e_j, so that scores are q itself."""
    layout = Layout(torch.tensor(lengths), torch.device("cpu"))
    size = layout.longest
    k = torch.eye(size).expand(len(lengths), 1, size, size)
    mask = None if layout.even else layout.real_BL[:, None, None]
    evidence = gather_evidence(layout, q * size**0.5, k, k, mask, frozenset({"received"}))
    return evidence.received_N.tolist()


def test_sum_over_queries():
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    got = received(weights.log()[None, None], [3])
    torch.testing.assert_close(torch.tensor(got), torch.tensor([0.8, 1.25, 0.95]))


def test_padding_neither_gives_nor_receives():
    got = received(torch.zeros(2, 1, 4, 4), [4, 2])
    torch.testing.assert_close(torch.tensor(got), torch.ones(6))  # t queries give 1 / t each


def test_at_layer_0_it_equals_a_text_that_was_cut():
    encoder, batch = tiny(), ragged((9,))
    cut = Batch.from_lists([batch.ids_N[:5].tolist()], [batch.types_N[:5].tolist()])
    cut_BC = encoder(cut).logits_BC
    encoder = encoder.replacing(reduction=First(ratio=0.5, layers=[0]))
    trace = encoder(batch)
    assert trace.tokens_LB.flatten().tolist() == [5] * 6
    torch.testing.assert_close(trace.logits_BC, cut_BC)


def test_importance_adds_up_over_layers():
    made = SpAtten(ratio=[0.0, 0.5], layers=[1, 2])
    rows = packed([[float(i)] for i in range(5)], [5])
    same = made(rows, Evidence(received_N=torch.tensor([0.1, 0.9, 0.5, 0.2, 0.3])), 1)
    assert same.x_ND.flatten().tolist() == [0, 1, 2, 3, 4]
    # Sums: .9 .6 1.1 .5; at the second layer alone 3, 2, 4 would lead.
    short = made(same, Evidence(received_N=torch.tensor([0.1, 0.0, 0.1, 0.9, 0.2])), 2)
    assert short.x_ND.flatten().tolist() == [0, 1, 3]
    torch.testing.assert_close(short.notes["importance"], torch.tensor([0.2, 0.9, 1.1]))


def noted(ids: list[list[int]]):
    batch = Batch.from_lists(ids)
    made = packed([[float(i)] for i in range(len(batch.ids_N))], [len(one) for one in ids])
    return replace(made, notes={"example": example_noted(batch, made.layout, made.special_N)})


def test_half_of_the_others_stay_and_cls():
    text = [2, *range(5, 45)]
    made = Random(ratio=0.5, layers=[1])
    kept = made(noted([text]), Evidence(), 1).x_ND.flatten().tolist()
    assert len(kept) == 1 + 20
    assert kept[0] == 0


def test_every_position_is_drawn_equally_often():
    texts = [[2, *range(5 + i, 15 + i)] for i in range(400)]
    score_N = Random(layers=[1]).score(noted(texts), Evidence())
    assert 0 <= float(score_N.min()) < float(score_N.max()) < 1
    means_L = score_N.view(400, 11).mean(0)  # a mean of 400 draws is off by 0.0144 (one sigma)
    torch.testing.assert_close(means_L, torch.full((11,), 0.5), atol=0.06, rtol=0)


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


def lengths(made: LengthDrop, given: list[int], strength: float = 1.0) -> list[int]:
    rows = packed([[0.0]] * sum(given), given, strength)
    evidence = Evidence(received_N=torch.rand(sum(given)))
    return made(rows, evidence, 1).layout.lengths_B.tolist()


def test_outside_training_the_ratio_leaves():
    made = LengthDrop(ratio=0.2, layers=[1])
    assert lengths(made, [10, 11, 4, 1]) == [8, 9, 4, 1]  # ceil(0.8 n)
    assert lengths(LengthDrop(ratio=0.9, layers=[1]), [10, 2, 1]) == [2, 2, 1]  # 2 at least
    assert lengths(made, [10], strength=0.5) == [9]


def test_in_training_lengths_are_uniform_between_the_least_and_all():
    torch.manual_seed(0)
    made = LengthDrop(ratio=0.2, layers=[1]).train()
    drawn = [lengths(made, [10])[0] for _ in range(600)]
    assert {n: 150 < drawn.count(n) < 250 for n in (8, 9, 10)} == {8: True, 9: True, 10: True}
    assert set(drawn) == {8, 9, 10}


def found(*points: tuple[float, float]) -> list[Found]:
    return [Found((cost,), cost, score) for cost, score in points]


def test_pareto_and_hull():
    best = pareto(found((0.5, 0.7), (0.2, 0.5), (0.6, 0.65), (0.3, 0.52), (1.0, 0.8), (0.5, 0.6)))
    assert [f.cost for f in best] == [0.2, 0.3, 0.5, 1.0]
    # From .2: slope .2 to .3, .667 to .5: .3 lies under the line between its neighbours.
    assert [f.cost for f in hull(best)] == [0.2, 0.5, 1.0]


def test_evolution_finds_what_constant_ratios_miss():
    """The first layer costs as much as the second and is worth ten times as much."""

    def evaluate(shares):
        return sum(shares) / 2, 10 * shares[0] + shares[1]

    start = evolve(evaluate, 2, 0.5, iterations=0)
    best = evolve(evaluate, 2, 0.5, iterations=20, mutations=10, crossovers=10)
    assert max(f.score for f in start if f.cost <= 0.76) < 9.2
    assert max(f.score for f in best if f.cost <= 0.76) > 10  # 1.0 and 0.5 cost .75, give 10.5
    assert best == evolve(evaluate, 2, 0.5, iterations=20, mutations=10, crossovers=10)
