"""Heads of one pass by the ways in which their examples weigh, and names of methods."""

import numpy as np
import pytest

from eat_lightning.report.result import Result
from experiments.methods.claim import encoder, published
from experiments.methods.heads import FLOOR, Texts, standardised, trained, weights_of


def test_weights_are_one_in_mean_and_never_nothing():
    weight_EN = weights_of(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(weight_EN.mean(1), 1)
    assert weight_EN[0, 1] / weight_EN[0, 0] == pytest.approx(FLOOR)
    np.testing.assert_allclose(weight_EN[1], 1)


def test_heads_learn_the_answers_of_full_depth():
    """At two exits from three numbers, of which one says which class it is."""
    side_N = np.sign(np.random.default_rng(0).normal(size=512))
    features_NEW = np.random.default_rng(1).normal(size=(512, 2, 3))
    features_NEW[:, :, 0] = side_N[:, None]
    full_NC = np.stack([4 * side_N, -4 * side_N], 1).astype(np.float32)
    (texts,) = standardised([Texts(features_NEW.astype(np.float16), full_NC)])
    heads = trained(texts, hidden=8, epochs=30)
    answers_EN = heads(texts.batch(np.arange(512))).argmax(-1).numpy()
    assert (answers_EN == full_NC.argmax(1)).mean() > 0.95


def test_a_line_is_named_by_its_method():
    line = Result({"method": "power_bert, soft_hard", "model": "minilm-h6-i768"}, {})
    assert (published(line) or "").startswith("2.0 to 4.5x")
    assert encoder(line) == "6 heads, 768 inner neurons"
