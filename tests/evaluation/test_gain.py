"""Adaptivity gains of a few examples, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.data.metrics import metrics_for
from eat_lightning.evaluation.gain import METRICS, Judged, best_mix, mean_gains, neighbours
from eat_lightning.model.trace import Trace

LABELS = np.array([1, 1, 0, 0])


def answers(class_B: np.ndarray, flops_B: np.ndarray) -> Trace:
    return Trace(np.eye(77)[class_B], np.zeros(len(class_B), int), flops_B=flops_B)


HALF, THREE = np.array([1, 0, 0, 1]), np.array([1, 1, 0, 1])
SHALLOW = answers(HALF, np.array([1.0, 1.0, 1.0, 1.0]))  # half of them right
DEEP = answers(THREE, np.array([3.0, 3.0, 3.0, 3.0]))  # three of four
CHOSEN = answers(THREE, np.array([1.0, 3.0, 1.0, 1.0]))  # the second goes deep


def gain(rule: Trace, fixed=(SHALLOW, DEEP), labels=LABELS, **more) -> list[float]:
    """Over the neighbouring depths: the value and the ends of its interval."""
    (found,) = mean_gains([Judged([rule], fixed, labels, **more)])
    return [found[f"adaptivity_gain{end}"] for end in ("", "_low", "_high")]


def test_the_best_mix_leaves_out_a_depth_that_is_no_better_than_its_cheaper_neighbour():
    """Depths at FLOPs 1, 2 and 3 score 0.5, 0.5 and 1: at 2 half of the third beats the second. At
    3 and dearer a cheaper depth that is better stands."""
    flops_DK = np.array([[1.0, 2.0, 3.0, 4.0]])
    score_DK = np.array([[0.5, 0.5, 1.0, 0.75]])
    for cost, of_neighbours, of_mix in ((0.5, 0.5, 0.5), (2.0, 0.5, 0.75), (3.5, 0.875, 1.0)):
        at_D = np.array([cost])
        assert neighbours(flops_DK, score_DK, at_D) == pytest.approx(of_neighbours)
        assert best_mix(flops_DK, score_DK, at_D) == pytest.approx(of_mix)


def test_the_gain_over_the_best_mix_is_never_the_larger_one():
    step = answers(HALF, np.full(4, 2.0))  # as accurate as the cheaper one
    (found,) = mean_gains([Judged([CHOSEN], [SHALLOW, step, DEEP], LABELS)])
    assert found["adaptivity_gain"] == pytest.approx(0.75 - 0.5)
    assert found["mix_gain"] == pytest.approx(0.75 - 0.5625)
    assert {*found} == {
        *("adaptivity_gain", "adaptivity_gain_low", "adaptivity_gain_high"),
        *("mix_gain", "mix_gain_low", "mix_gain_high"),
    }


def test_a_rule_against_the_mix_that_costs_as_much():
    # FLOPs 1.5 lie a quarter of the way from 1 to 3: 0.5 + 0.25 * (0.75 - 0.5).
    assert gain(CHOSEN)[0] == pytest.approx(0.75 - 0.5625)
    assert gain(CHOSEN, fixed=(DEEP, SHALLOW))[0] == pytest.approx(0.75 - 0.5625)


def test_fixed_depths_gain_nothing():
    for found in mean_gains([Judged([SHALLOW, DEEP], [SHALLOW, DEEP], LABELS)]):
        assert {*found.values()} == {0}


def test_beyond_the_ends_the_nearest_depth_stands():
    dear = answers(THREE, np.full(4, 3.5))  # by the heads on the way
    cheap = answers(HALF, np.full(4, 0.5))
    assert (gain(dear)[0], gain(cheap)[0]) == (0, 0)


def test_intervals_are_paired():
    """An example that both get wrong moves neither bound: the rule is right wherever the fixed
    depth is, at the same cost, and on half of the others."""
    labels = np.zeros(100, np.int64)
    wrong = answers((np.arange(100) < 50).astype(np.int64), np.ones(100))
    better = answers((np.arange(100) < 25).astype(np.int64), np.ones(100))
    value, *ends = gain(better, [wrong], labels)
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 100)
    assert value == pytest.approx(0.25)
    assert ends == pytest.approx([0.25 - spread, 0.25 + spread], abs=0.015)


def test_groups_are_drawn_whole():
    """Ten times the same answers under one premise are one observation."""
    labels = np.zeros(40, np.int64)
    alone = answers(np.arange(40) % 4 // 3, np.ones(40))
    right = answers(np.zeros(40, np.int64), np.ones(40))
    group = np.arange(40) % 4
    loose, loose_low, loose_high = gain(right, [alone], labels)
    whole, low, high = gain(right, [alone], labels, cluster_B=group)
    assert loose == whole == pytest.approx(0.25)
    assert high - low > 2 * (loose_high - loose_low)
    assert low == 0
    assert gain(right, [alone], labels, cluster_B=group) == [whole, low, high]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_metrics_of_a_confusion_matrix(num_classes: int):
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, num_classes, (2, 60))
    matrix = np.zeros((1, num_classes, num_classes))
    np.add.at(matrix[0], (labels, answers), 1)
    for name, of_matrix in METRICS.items():
        task = SimpleNamespace(metrics=[name], kind=SingleLabel(num_classes))
        metric = metrics_for(task)[name]
        wanted = metric(torch.tensor(answers), torch.tensor(labels))  # type: ignore[operator]
        assert of_matrix(matrix)[0] == pytest.approx(float(wanted), abs=1e-6)
    nothing = np.array([[4.0, 0], [0, 0]])
    assert (METRICS["f1"](nothing), METRICS["matthews"](nothing)) == (0, 0)


def test_f1_of_three_classes_is_the_mean_of_theirs():
    """Nobody answers 2: F1 is 8/9 of class 0 (4 right, one answer too many), 1 of class 1 and 0 of
    class 2, where accuracy is 5/6. A class without examples or answers counts for nothing."""
    labels, answers = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 1, 0])
    for num_classes in (3, 4):
        matrix = np.zeros((num_classes, num_classes))
        np.add.at(matrix, (labels, answers), 1)
        assert METRICS["f1"](matrix) == pytest.approx((8 / 9 + 1 + 0) / 3)
        metric = metrics_for(SimpleNamespace(metrics=["f1"], kind=SingleLabel(num_classes)))["f1"]
        found = metric(torch.tensor(answers), torch.tensor(labels))  # type: ignore[operator]
        assert float(found) == pytest.approx((8 / 9 + 1 + 0) / 3)


def test_accuracy_of_many_classes_needs_no_matrix_of_them():
    """77 classes, 4 examples: the sums hold right and wrong alone, and the gain is by hand. All
    right at cost 2 against half of them right at cost 2: 0.5."""
    labels_B, ones = np.array([76, 3, 3, 0]), np.full(4, 2.0)
    rule = answers(labels_B, ones)
    fixed = [answers(np.array([76, 3, 0, 1]), ones)]
    judged = Judged([rule], fixed, labels_B, num_classes=77)
    assert judged.sums.shape == (4, 2, 2 * 2 + 1)
    assert mean_gains([judged])[0]["adaptivity_gain"] == 0.5
