"""EAT's token pruning, by hand; and the step that all top-k reductions share."""

import math
from fractions import Fraction
from itertools import product

import torch
from models import packed

from eat_lightning.methods.reduction._topk import kept_lengths
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.evidence import Evidence


def kept(norms: list[float], lengths: list[int], **options) -> list[int]:
    """Which rows stay, of vectors with these norms."""
    vectors = packed([[0.0, norm] for norm in norms], lengths)
    vectors.position_N = torch.arange(len(norms))
    return NormTopK(**({"layers": [2]} | options))(vectors, Evidence(), 2).position_N.tolist()


def test_count_is_that_of_exact_arithmetic():
    lengths = list(range(1, 513))
    ratios = ("0", "0.05", "0.1", "0.29", "0.3", "0.5", "0.57", "0.7", "0.99")
    for ratio, strength in product(ratios, ("1", "0.5", "0.1", "0.7")):
        p = Fraction(ratio) * Fraction(strength)
        expected = [1 + math.ceil((1 - p) * (t - 1)) for t in lengths]
        strength_B = torch.full((512,), float(strength), dtype=torch.float64)
        found = kept_lengths(torch.tensor(lengths), float(ratio), strength_B).tolist()
        assert found == expected, (ratio, strength)


def test_highest_norms_stay_in_their_order():
    assert kept([9, 1, 5, 2, 4, 3], [6], ratio=0.4) == [0, 2, 4, 5]  # ceil(0.6 x 5) = 3


def test_cls_stays_though_it_is_smallest():
    assert kept([0.1, 1, 2, 3], [4], ratio=0.9) == [0, 3]


def test_ties_go_to_the_earlier_token():
    assert kept([1, 2, 2, 2, 2], [5], ratio=0.5) == [0, 1, 2]


def test_each_example_by_itself():
    norms = [1, 5, 6, 7, 8, 1, 1, 1, 3, 2]
    assert kept(norms, [5, 1, 4], ratio=0.5) == [0, 3, 4, 5, 6, 8, 9]  # of 3 others ceil(1.5) stay


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
