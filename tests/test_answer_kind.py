"""Kinds of answers, on logits whose answers can be worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from eat_lightning.answer_kind import MULTI, SCORE, MultiLabel, Score, SingleLabel, kind_of
from eat_lightning.data.task import Task

LN3 = math.log(3)  # the sigmoid of ln 3 is 3/4


def test_classes_are_the_same_where_the_largest_logit_is():
    kind = SingleLabel(2)
    ours, theirs = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[0.0, 9.0], [1.0, 2.0]])
    assert kind.same(ours, theirs).tolist() == [True, False]
    assert kind.same(torch.tensor(ours), torch.tensor(theirs)).tolist() == [True, False]
    np.testing.assert_equal(kind.right(ours, np.array([0, -100])), [0, np.nan])
    assert kind.numbered(ours, theirs).tolist() == [1, 0]
    assert kind.printed(np.array([[0.0, LN3]]), ["no", "yes"]) == [
        {"label": "yes", "confidence": 0.75}
    ]


def test_sets_are_the_same_where_no_label_stands_in_one_alone():
    kind = MultiLabel(3)
    ours = np.array([[1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [-1.0, -1.0, -1.0]])
    theirs = np.array([[0.1, -9.0, 0.1], [1.0, 0.1, 2.0], [-0.1, -0.1, -0.1]])
    assert kind.same(ours, theirs).tolist() == [True, False, True]
    assert kind.same(torch.tensor(ours), torch.tensor(theirs)).tolist() == [True, False, True]
    assert kind.numbered(ours, theirs).tolist() == [0, 1, 0]
    labels = np.array([[1, 0, 1], [1, 0, 0], [-100, -100, -100]])
    np.testing.assert_equal(kind.right(ours, labels), [1, 0, np.nan])


def test_a_set_is_printed_with_the_label_that_is_least_sure():
    """0.75, 0.25 and 0.9: two labels, and none surer than 0.75."""
    given = np.array([[LN3, -LN3, math.log(9)], [-LN3, -9.0, -9.0]])
    assert MultiLabel(3).printed(given, ["a", "b", "c"]) == [
        {"labels": ["a", "c"], "probabilities": [0.75, 0.9], "confidence": 0.75},
        {"labels": [], "probabilities": [], "confidence": 0.75},
    ]


def test_scores_are_the_same_within_a_tolerance_or_on_one_side_of_each_cut():
    ours, theirs = np.array([[1.0], [1.0], [2.4]]), np.array([[1.25], [1.5], [2.5]])
    assert Score(1, tolerance=0.25).same(ours, theirs).tolist() == [True, False, True]
    cut = Score(1, cuts=(2.5,))
    assert cut.same(ours, theirs).tolist() == [True, True, False]
    assert cut.same(torch.tensor(ours), torch.tensor(theirs)).tolist() == [True, True, False]
    assert Score(1, cuts=(1.4, 2.0)).same(ours, theirs).tolist() == [True, False, True]
    with pytest.raises(ValueError, match=r"task.tolerance or task.cuts"):
        Score().same(ours, theirs)
    assert np.isnan(Score().right(ours, np.array([1.0, 1.0, 1.0]))).all()
    assert Score(1, error=True).printed(np.array([[2.0, 0.5]]), []) == [
        {"score": 2.0, "error": 0.5}
    ]


def test_losses_of_several_labels_are_means_over_the_labels():
    """-ln 3/4 and -ln 1/4, halved; and with a teacher of the same logits nothing."""
    kind, logits = MultiLabel(2), torch.tensor([[LN3, LN3]])
    wanted = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    assert kind.loss(logits, torch.tensor([[1, 0]])).item() == pytest.approx(wanted)
    assert kind.divergence(logits, logits, 2.0).item() == pytest.approx(0, abs=1e-7)
    # KL(1/2 || 3/4) of one label, 0 of the other
    apart = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    taught = kind.divergence(logits, torch.tensor([[0.0, LN3]]), 1.0)
    assert taught.item() == pytest.approx(apart / 2)


def test_a_score_learns_the_last_layers_and_its_distance_from_it():
    """Off by 3 from the last layer and said to be off by 1: 9 + 4. The label is off by 2."""
    kind, guess = Score(1, error=True), torch.tensor([[1.0, 1.0]], requires_grad=True)
    last = kind.padded(torch.tensor([[4.0]]))
    assert last.tolist() == [[4.0, 0.0]]
    loss = kind.divergence(guess, last, 1.0)
    assert loss.item() == 13.0
    (slope,) = torch.autograd.grad(loss, guess)
    assert slope.tolist() == [[-6.0, -4.0]]  # the score does not learn to be as far off as is said
    assert kind.loss(guess, torch.tensor([3.0]), last).item() == 4.0 + 4.0
    assert kind.loss(last, torch.tensor([3.0]), last).item() == 1.0
    assert Score().divergence(guess[:, :1], last, 1.0).item() == 9.0


def test_several_labels_are_calibrated_as_decisions_between_two_classes():
    kind: Any = MultiLabel(2)
    logits_MC, labels_M = kind.as_classes(torch.tensor([[2.0, -1.0]]), torch.tensor([[1, 0]]))
    assert (logits_MC.tolist(), labels_M.tolist()) == ([[0.0, 2.0], [0.0, -1.0]], [1, 0])
    assert Score().as_classes(torch.zeros(1, 1), torch.zeros(1)) is None


@pytest.mark.parametrize(
    "kind", [SingleLabel(3), MultiLabel(1), Score(1, 0.5, (1.0, 2.5), True), Score()]
)
def test_a_kind_is_read_as_it_is_written(kind: Any):
    assert kind_of(kind.spec(), kind.num_labels) == kind


@pytest.mark.parametrize(
    ("config", "num_labels", "message"),
    [
        ({"problem_type": "ranking"}, 2, "problem_type must be among"),
        ({"problem_type": SCORE}, 2, "num_labels must be 1 for regression, got 2"),
        ({"answer": {"tolerance": -1}}, 1, "answer.tolerance must be 0 or above, got -1"),
        ({"answer": {"cuts": ["x"]}}, 1, "answer.cuts must be numbers, got 'x'"),
        ({"answer": [1]}, 1, "answer must hold tolerance, cuts and error"),
    ],
)
def test_what_no_kind_can_be_is_one_line(config: dict, num_labels: int, message: str):
    with pytest.raises(ValueError, match=r".") as caught:
        kind_of(config, num_labels)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_has_a_kind():
    assert Task("t", ["a"], ["x", "y"]).kind == SingleLabel(2)
    several = Task("t", ["a"], ["x"], ["f1_micro"], problem_type=MULTI)
    assert (several.kind, several.label_column) == (MultiLabel(1), "labels")
    score = Task("t", ["a"], [], ["pearson"], label_range=[0.0, 5.0])
    assert score.kind == Score(1, 0.25)
    assert Task("t", ["a"], [], ["pearson"], cuts=[2.5], tolerance=0.1).kind == Score(
        1, 0.1, (2.5,)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"problem_type": "ranking"}, "task.problem_type must be among"),
        ({"problem_type": SCORE}, "task.labels must have no names for regression"),
        ({"tolerance": 0.5}, "task.tolerance is for a score, got 0.5"),
        ({"labels": [], "metrics": ["pearson"], "tolerance": -1}, "task.tolerance must be 0 or"),
        ({"labels": [], "metrics": ["f1"]}, "task.metrics must be among ('pearson', 'spearman')"),
    ],
)
def test_faults_of_a_tasks_kind(given: dict, message: str):
    whole: Any = {"labels": ["x", "y"]} | given
    with pytest.raises(ValueError, match=r".") as caught:
        Task("t", ["a"], **whole)
    assert message in str(caught.value)
