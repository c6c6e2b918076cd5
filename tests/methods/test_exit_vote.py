"""Exits that vote, by hand."""

import torch

from eat_lightning.methods.exit.vote import Vote, votes_for
from eat_lightning.model.contracts import at_point

# Probabilities of three classes at three exits: two examples.
EXITS = torch.tensor(
    [
        [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]],
        [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]],
        [[0.5, 0.4, 0.1], [0.3, 0.4, 0.3]],
    ]
).log()


def test_votes_are_counted_over_all_exits_so_far():
    assert votes_for(EXITS).tolist() == [[2, 1, 0], [1, 1, 1]]
    rule = Vote(2, [2, 3, 4])
    assert [rule.decides(EXITS[:e]).tolist() for e in (1, 2, 3)] == [[0, 0], [0, 0], [1, 0]]
    assert Vote([3, 3, 1], [2, 3, 4]).decides(EXITS).tolist() == [1, 1]


def test_the_answer_is_what_its_voters_say_on_average():
    """First: exits 1 and 3 for class 0. Second: a tie, and class 2 is likeliest on average."""
    answered = Vote().answers(EXITS).softmax(-1)
    expected = torch.tensor([[0.55, 0.35, 0.1], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(answered, expected)
    assert Vote().answers(EXITS[:2]).argmax(-1).tolist() == [1, 2]


def test_the_knob_counts_whole_votes_from_more_than_there_are_to_one():
    assert at_point(Vote(), Vote.knob.strict).decides(EXITS).tolist() == [0, 0]
    assert at_point(Vote(), Vote.knob.fine[-1]).decides(EXITS[:1]).tolist() == [1, 1]
    halves = Vote(1.5).decides(EXITS), Vote(2).decides(EXITS)
    assert torch.equal(*halves)
