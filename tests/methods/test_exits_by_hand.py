"""Exit rules that read guesses alone: who leaves, and by how much, at values worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from eat_lightning.methods.exit.beem import Beem
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.entropy import Entropy
from eat_lightning.methods.exit.every_label import EveryLabel
from eat_lightning.methods.exit.fpabee import FlexiblePatience, divergences
from eat_lightning.methods.exit.fpabee_labels import FlexiblePatienceLabels
from eat_lightning.methods.exit.margin import Margin
from eat_lightning.methods.exit.patience import Patience
from eat_lightning.methods.exit.pcee import PatientConfident
from eat_lightning.methods.exit.predicted_error import PredictedError
from eat_lightning.methods.exit.vote import Vote, votes_for


def guesses(*exits: list[float]) -> Tensor:
    """Logits of two classes, by the probability of the first, for each exit and example."""
    first_EB = torch.tensor(exits, dtype=torch.float64).logit().float()
    return torch.stack([first_EB, torch.zeros_like(first_EB)], -1)


def labelled(*exits: list[float]) -> Tensor:
    """Logits of one example, by the probability of each label at each exit."""
    return torch.tensor(exits).logit()[:, None]


def bits(p: float) -> float:
    """Entropy of two probabilities."""
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


SATURATED = torch.tensor([[[200.0, 0.0]]])  # a probability of 1
BF16 = torch.tensor([[[1.3828125, 0.0]]]).bfloat16()  # 0.7994, which bf16 would round to 0.8008
# Probabilities 1/2 1/2 0, 1/4 1/4 1/2 and 1/3 each, and their entropies.
MIXED = torch.tensor([[0.5, 0.5, 1e-30], [0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]]).log()[None]
NATS = [math.log(2), 1.5 * math.log(2), math.log(3)]
# Leads of 0.1 (0.5, 0.4), 0.15 (0.45, 0.3) and 0.9 (0.95, 0.05).
LEADS = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.45, 0.25], [0.95, 0.05, 1e-30]]).log()[None]
EXPERTS = guesses([0.8, 0.8], [0.9, 0.1], [0.6, 0.3])
# Probabilities of three classes at three exits: two examples.
VOTERS = torch.tensor(
    [
        [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]],
        [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]],
        [[0.5, 0.4, 0.1], [0.3, 0.4, 0.3]],
    ]
).log()
# A probability of 0.99 has 0.081 of the most entropy, 0.9 has 0.469.
SURE, UNSURE, OTHER = 0.99, 0.9, 0.01
ONCE, TWICE = FlexiblePatience(0.1, [2, 3, 4]), FlexiblePatience(0.1, [2, 3, 4], patience=2)
# Of 0.9 and 0.5 the mean is 0.7; of 0.9 and 0.8 the divergence is 0.014.
APART = bits(0.7) - (bits(0.9) + 1) / 2
ALIKE = [0.9, 0.9, 0.5], [0.5, 0.8, 0.9], [0.5, 0.9, 0.9]
MOVED, STILL = labelled([0.9, 0.2], [0.5, 0.2]), labelled([0.9, 0.2], [0.9, 0.2])
ANSWERS = [0, 0, 1, 2], [0, 0, 0, 2], [0, 1, 0, 2], [1, 1, 0, 0], [1, 1, 1, 0]


def answers(*exits: list[int]) -> Tensor:
    """Guesses of three classes, by each example's class at each exit."""
    return torch.nn.functional.one_hot(torch.tensor(exits), 3).float()


def scored(*examples: tuple[float, float]) -> Tensor:
    """One exit's scores and predicted errors."""
    return torch.tensor([examples])


@pytest.mark.parametrize(
    ("rule", "logits_EBC", "leaves"),
    [
        (Confidence(0.9), guesses([0.91, 0.89, 0.05, 0.5]), [1, 0, 1, 0]),
        (Confidence(0.5), guesses([0.5]), [1]),  # tau itself is enough
        (Confidence(0.999), SATURATED, [1]),
        (Confidence([1.0, 0.9], [2, 4]), SATURATED, [0]),  # and 1 is for nobody
        (Confidence(0.9, [3, 4]), guesses([0.99, 0.6], [0.6, 0.99]), [0, 1]),  # the newest counts
        (Confidence(0.8), BF16, [0]),
        (Entropy(0.7), MIXED, [1, 0, 0]),
        (Entropy(1.05), MIXED, [1, 1, 0]),
        (Entropy([0.1, 0.7], [3, 4]), torch.cat([MIXED, MIXED.flip(1)]), [0, 0, 1]),
        (Entropy(0.01), torch.tensor([[[1e4, 0.0, -1e4]]]), [1]),
        (Margin(0.14), LEADS, [0, 1, 1]),  # the lead counts, and not the largest probability:
        (Confidence(0.48), LEADS, [1, 0, 1]),
        (Margin([0.95, 0.5], [3, 4]), LEADS, [0, 0, 0]),
        (Margin([0.95, 0.5], [3, 4]), torch.cat([LEADS, LEADS]), [0, 0, 1]),
        (EveryLabel(0.9), labelled([0.95, 0.02]), [1]),  # sure that one is there and one is not
        (EveryLabel(0.9), labelled([0.95, 0.3]), [0]),
        (EveryLabel(0.999), torch.tensor([[[200.0, -200.0]]]), [1]),
        (EveryLabel(0.5), torch.zeros(1, 1, 3), [1]),
        (Patience(1, [3, 4]), answers([0, 1, 2]), [0, 0, 0]),  # PABEE needs two equal answers
        (Patience(1, [3, 4]), answers([0, 1, 2], [0, 2, 2]), [1, 0, 1]),
        (Patience(2, [1, 2, 3, 4, 5]), answers(*ANSWERS[:2]), [0, 0, 0, 0]),
        (Patience(2, [1, 2, 3, 4, 5]), answers(*ANSWERS[:3]), [1, 0, 0, 1]),
        (Patience(2, [1, 2, 3, 4, 5]), answers(*ANSWERS[:4]), [0, 0, 1, 0]),
        (Patience(2, [1, 2, 3, 4, 5]), answers(*ANSWERS), [0, 1, 0, 0]),
        (PatientConfident(0.2, [2, 3, 4]), guesses([SURE, UNSURE]), [0, 0]),
        (PatientConfident(0.2, [2, 3, 4]), guesses([SURE] * 3, [SURE, UNSURE, OTHER]), [1, 0, 0]),
        (PatientConfident(0.2, [2, 3, 4]), guesses([SURE], [OTHER], [OTHER]), [1]),
        (PatientConfident(0.2, [3, 4], released=True), guesses([SURE], [OTHER]), [1]),
        (PatientConfident([0.01, 0.5], [3, 4]), guesses([UNSURE], [UNSURE]), [1]),  # the newest's
        (PatientConfident([0.5, 0.4], [3, 4]), guesses([UNSURE], [SURE]), [0]),
        (ONCE, guesses(ALIKE[0]), [0, 0, 0]),
        (ONCE, guesses(*ALIKE[:2]), [0, 1, 0]),
        (ONCE, guesses(*ALIKE), [1, 1, 1]),
        (TWICE, guesses(*ALIKE[:2]), [0, 0, 0]),
        (TWICE, guesses(*ALIKE), [0, 1, 0]),
        (FlexiblePatience([0.0, 0.01, 0.2], [2, 3, 4], 2), guesses([0.9], [0.5], [0.5]), [1]),
        (FlexiblePatienceLabels(0.1, [2, 4]), MOVED, [0]),  # the label that moves most counts
        (FlexiblePatienceLabels(0.1, [2, 4]), STILL, [1]),
        (FlexiblePatienceLabels(1.0, [2, 4]), MOVED[:1], [0]),  # nothing to be like
        (Beem([0.15, 0.4, 0.6], [2, 3, 4]), EXPERTS[:1], [1, 1]),
        (Beem([0.15, 0.4, 0.6], [2, 3, 4]), EXPERTS[:2], [1, 0]),
        (Beem([0.15, 0.4, 0.6], [2, 3, 4]), EXPERTS, [1, 0]),
        (Vote([24, 2], [2, 3]), answers([0, 0]), [0, 0]),  # 24: nobody leaves there
        (Vote(2, [2, 3, 4]), VOTERS[:2], [0, 0]),
        (Vote(2, [2, 3, 4]), VOTERS, [1, 0]),
        (Vote(1.5, [2, 3, 4]), VOTERS, [1, 0]),  # whole votes
        (Vote([3, 3, 1], [2, 3, 4]), VOTERS, [1, 1]),
        (PredictedError(0.2), scored((3.0, 0.1), (3.0, 0.3)), [1, 0]),
        (PredictedError([0.2, 0.5], [2, 4]), scored((3.0, 0.3)).repeat(2, 1, 1), [1]),
        (PredictedError(0.0), scored((3.0, -0.1), (3.0, 0.0)), [0, 0]),
        # Half a unit from the nearest of two cuts: an error of 0.2 is below half of it.
        (PredictedError(0.5, cuts=[1.0, 2.5]), scored((2.0, 0.2), (2.0, 0.3), (9.0, 2)), [1, 0, 1]),
    ],
)
def test_who_leaves(rule: Any, logits_EBC: Tensor, leaves: list[int]):
    assert rule.decides(logits_EBC).tolist() == leaves


@pytest.mark.parametrize(
    ("rule", "logits_EBC", "margins"),
    [
        (Confidence(0.7), guesses([0.8, 0.5]), [0.1, 0.2]),
        (Entropy(0.7), MIXED, [abs(nats - 0.7) for nats in NATS]),
        (Margin(0.3), LEADS, [0.2, 0.15, 0.6]),
        (EveryLabel([0.5, 0.8], [2, 4]), labelled([0.95, 0.3], [0.95, 0.3]), [0.1]),
        # The least lead of the exits compared: 0.6 (0.8 to 0.2) and 0.2 (0.6 to 0.4).
        (Patience(layers=[2, 3, 4]), guesses([0.5], [0.8], [0.6]), [0.2]),
        (PatientConfident(0.5, [3, 4]), guesses([SURE], [UNSURE]), [0.031]),  # of 0.081 and 0.469
        (TWICE, guesses([0.9], [0.5], [0.5]), [APART - 0.1]),
        (TWICE, guesses([0.9]), [math.inf]),
        (FlexiblePatienceLabels(0.1, [2, 4]), MOVED, [APART - 0.1]),
        (Beem(0.6, [2, 3, 4]), EXPERTS, [0.07, 0.05]),  # scores 0.67 and 0.55
        (PredictedError(0.5, cuts=[1.0, 2.5]), scored((2.0, 0.2)), [0.05]),
    ],
)
def test_by_how_much(rule: Any, logits_EBC: Tensor, margins: list[float]):
    assert rule.margin(logits_EBC).tolist() == pytest.approx(margins, abs=1e-3)


def test_divergences():
    assert pytest.approx(0.1468, abs=1e-4) == APART
    far_EB = divergences(guesses([0.9, 0.9, 0.999999], [0.5, 0.9, 0.000001]))
    assert far_EB[0].tolist() == pytest.approx([APART, 0.0, 1.0], abs=1e-4)
    saturated_EB = divergences(torch.tensor([[[200.0, 0.0]], [[200.0, 0.0]], [[0.0, 200.0]]]))
    assert saturated_EB[:, 0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_the_least_lead_of_all_exits():
    assert (Margin([0.95, 0.5], [3, 4]).least_lead, Margin(0.3).least_lead) == (0.5, 0.3)


def test_experts_as_released_are_patience():
    torch.manual_seed(0)
    logits_EBC = torch.randn(4, 64, 2)
    for patience in (1, 2, 3):
        rule = Beem(float(patience), [1, 2, 3, 4], released=True)
        same = Patience(patience, [1, 2, 3, 4])
        for count in range(1, 5):
            found_B = rule.decides(logits_EBC[:count])
            assert found_B.tolist() == same.decides(logits_EBC[:count]).tolist()


@pytest.mark.parametrize(
    ("answer", "expected"), [("last", 0.6), ("patient", 0.7), ("all", (0.1 + 0.8 + 0.6) / 3)]
)
def test_an_answer_is_a_guess_or_a_mean_of_probabilities(answer: str, expected: float):
    rule = PatientConfident(0.9, [2, 3, 4], answer=answer)
    answered = rule.answers(guesses([0.1], [0.8], [0.6])).softmax(-1)
    assert float(answered[0, 0]) == pytest.approx(expected)


def test_voters_answer_what_they_say_on_average():
    """First: exits 1 and 3 for class 0. Second: a tie, and class 2 is likeliest on average."""
    assert votes_for(VOTERS).tolist() == [[2, 1, 0], [1, 1, 1]]
    expected = torch.tensor([[0.55, 0.35, 0.1], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(Vote().answers(VOTERS).softmax(-1), expected)
    assert Vote().answers(VOTERS[:2]).argmax(-1).tolist() == [1, 2]
