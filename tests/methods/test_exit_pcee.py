"""Patient and confident exits, by hand."""

import pytest
from odds import guesses

from eat_lightning.methods.exit.pcee import PatientConfident

# A probability of 0.99 has 0.081 of the most entropy, 0.9 has 0.469.
SURE, UNSURE, OTHER = 0.99, 0.9, 0.01


def test_exits_in_a_row_must_be_sure_and_agree():
    rule = PatientConfident(0.2, [2, 3, 4])
    first, second = [SURE, SURE, SURE, UNSURE], [SURE, UNSURE, OTHER, SURE]
    third = [UNSURE, SURE, OTHER, SURE]
    assert rule.decides(guesses(first)).tolist() == [0, 0, 0, 0]
    assert rule.decides(guesses(first, second)).tolist() == [1, 0, 0, 0]
    assert rule.decides(guesses(first, second, third)).tolist() == [0, 0, 1, 1]


def test_as_released_they_need_not_agree():
    rule = PatientConfident(0.2, [3, 4], released=True)
    assert rule.decides(guesses([SURE, SURE], [OTHER, UNSURE])).tolist() == [1, 0]


def test_the_deciding_exits_threshold_judges_those_before_it():
    rule = PatientConfident([0.01, 0.5], [3, 4])
    assert rule.decides(guesses([UNSURE], [UNSURE])).tolist() == [1]
    assert PatientConfident([0.5, 0.4], [3, 4]).decides(guesses([UNSURE], [SURE])).tolist() == [0]


@pytest.mark.parametrize(
    ("answer", "expected"), [("last", 0.6), ("patient", 0.7), ("all", (0.1 + 0.8 + 0.6) / 3)]
)
def test_the_answer_is_a_guess_or_a_mean_of_probabilities(answer: str, expected: float):
    rule = PatientConfident(0.9, [2, 3, 4], answer=answer)
    answered = rule.answers(guesses([0.1], [0.8], [0.6])).softmax(-1)
    assert float(answered[0, 0]) == pytest.approx(expected)


def test_margin_is_the_least_distance():
    """Entropies 0.081 and 0.469 from 0.5; leads 0.98 and 0.8."""
    rule = PatientConfident(0.5, [3, 4])
    assert rule.margin(guesses([SURE], [UNSURE])).tolist() == pytest.approx([0.031], abs=1e-3)
