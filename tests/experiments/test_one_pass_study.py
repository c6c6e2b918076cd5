"""What may make heads from one pass better: the study's arithmetic."""

import numpy as np
import pytest
import torch

from eat_lightning.data.split import Tokens
from experiments.one_pass.__main__ import Tried, judged, recorded_of, shuffled, table
from experiments.one_pass.heads import Heads, Texts, guesses, trained, weights_of


def texts(size: int = 40) -> Texts:
    """One exit of two features; full depth says the sign of the first. Text i has ids i, i."""
    x_NEW = np.random.default_rng(0).normal(size=(size, 1, 2)).astype(np.float16)
    full_NC = np.stack([-4 * x_NEW[:, 0, 0], 4 * x_NEW[:, 0, 0]], 1).astype(np.float32)
    ids = np.repeat(np.arange(size, dtype=np.int32), 2)
    tokens = Tokens(ids, np.zeros(2 * size, np.uint8), np.arange(0, 2 * size + 1, 2))
    return Texts(x_NEW, full_NC, tokens)


def test_weights_are_one_in_mean_and_reach_the_floor():
    found = weights_of(np.array([[1.0, 1.0, 0.0, 0.0]]))
    assert found.mean() == pytest.approx(1)
    assert found[0, 2] / found[0, 0] == pytest.approx(0.1)


def test_texts_keep_their_tokens_when_they_are_shuffled_or_cut():
    mixed = shuffled(texts())
    order = [int(np.flatnonzero((texts().full_NC == row).all(1))[0]) for row in mixed.full_NC]
    assert order != sorted(order)
    for made in (mixed, mixed.first(7)):
        ids, starts = made.bag(np.array([2, 5]))
        assert ids.tolist() == [order[2], order[2], order[5], order[5]]
        assert starts.tolist() == [0, 2]


def test_words_add_their_mean_weight_at_the_first_exit_alone():
    heads = Heads(exits=2, width=2, hidden=3, classes=2, words=40).eval()
    two = Texts(np.repeat(texts().features_NEW, 2, 1), texts().full_NC, texts().tokens)
    before = guesses(heads, two)
    with torch.no_grad():
        heads.words.weight[3] = torch.tensor([1.0, -1.0])
    moved = guesses(heads, two) - before
    assert moved[0, 3].tolist() == pytest.approx([1, -1])
    assert np.abs(moved).sum() == pytest.approx(2)


def test_heads_learn_what_full_depth_says():
    made = texts(2000)
    found = guesses(trained(made, hidden=8, epochs=8), made)[0].argmax(1)
    assert (found == made.full_NC.argmax(1)).mean() > 0.9


def test_a_part_is_judged_under_the_dial_of_the_other():
    """An exit at the embedding, of two layers: always sure, right on one part and never on the
    other. Fitted on the right part all leave, on the wrong one nobody does for 99 %."""
    full_NC = np.tile(np.array([[0.0, 5.0]], np.float32), (50, 1))
    good, bad = (recorded_of(x[None], full_NC, [0], 2) for x in (full_NC, -full_NC))
    outcome = judged([good, bad])
    assert outcome.cost_B.tolist() == [1.0] * 50 + [0.0] * 50
    assert outcome.unchanged_B.tolist() == [True] * 50 + [False] * 50


def test_the_table_marks_what_is_beyond_noise():
    row = Tried("a", "b", 9, 90.0, [0.2], [95.0], 0.5, 0.1, 0.9, 0.3, 99.0, 100)
    assert "| **+0.50 (+0.10 to +0.90)** |" in table([row])
