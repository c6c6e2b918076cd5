"""What no exit rule can beat, by hand."""

import numpy as np
import pytest

from eat_lightning.evaluation.oracle import cost, oracle_of
from eat_lightning.methods.exit.never import Never
from eat_lightning.record.record import Record

# Classes of three exits (layers 1, 2 and 4 of 4) for four examples, and their labels.
CLASSES = {1: [0, 1, 1, 0], 2: [0, 0, 1, 1], 4: [1, 0, 1, 1]}
LABELS = [0, 0, 0, 1]


@pytest.fixture
def recorded() -> Record:
    guesses = {k: np.eye(2)[classes] for k, classes in CLASSES.items()}
    # Two of four tokens are dropped after layer 2; of the last example none.
    tokens_LB = np.array([[4, 4, 4, 4]] * 2 + [[2, 2, 2, 4]] * 2)
    return Record(np.array(LABELS), tokens_LB[0], guesses, tokens_LB, Never())


def test_the_first_right_exit(recorded: Record):
    """Right at 1, at 2, nowhere, at 2."""
    oracle = oracle_of(recorded, recorded.labels)
    assert oracle.depth_B.tolist() == [1, 2, 4, 2]
    assert (oracle.accuracy, oracle.depth) == (3 / 4, 9 / 4)
    assert oracle.least_depth == (1 + 2 + 1 + 2) / 4
    # Token layers: 4, 8, 12 and 8 of 16.
    assert cost(recorded, oracle) == (4 + 8 + 12 + 8) / 64


def test_the_first_exit_that_says_what_the_last_does(recorded: Record):
    oracle = oracle_of(recorded)
    assert oracle.depth_B.tolist() == [4, 2, 1, 2]
    assert oracle.accuracy == 1
    assert cost(recorded, oracle) == (12 + 8 + 4 + 8) / 64
