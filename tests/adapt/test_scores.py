"""Scores of texts that leave early, on the scale of the original's."""

import numpy as np
import pytest

from eat_lightning.deploy.adapt.scores import FEW, score_scales
from eat_lightning.model.trace import Trace


def test_a_scale_undoes_a_temperature():
    """Logits at layer 1 are four times the original's, those at layer 2 half of them."""
    original_NC = np.random.default_rng(0).normal(size=(200, 3))
    depth_N = np.repeat([1, 2, 6], [80, 100, 20])
    factor_N = np.select([depth_N == 1, depth_N == 2], [4.0, 0.5], 1.0)
    found = score_scales(Trace(original_NC * factor_N[:, None], depth_N), original_NC, 6)
    assert found == {"1": pytest.approx(0.25, rel=1e-2), "2": pytest.approx(2.0, rel=1e-2)}


def test_few_texts_of_a_layer_have_the_scale_of_all():
    original_NC = np.random.default_rng(0).normal(size=(100, 2))
    depth_N = np.repeat([1, 2], [100 - FEW // 2, FEW // 2])
    found = score_scales(Trace(3 * original_NC, depth_N), original_NC, 6)
    assert set(found) == {"1", "2"}
    assert found["2"] == pytest.approx(1 / 3, rel=1e-2)
    assert score_scales(Trace(original_NC, np.full(100, 6)), original_NC, 6) == {}


def test_a_trace_is_scaled_where_it_left():
    trace = Trace.blank(2, 2, 6, {0: "stays"})
    trace.logits_BC[:], trace.depth_B[:] = [[1, -1], [2, 0]], [3, 6]
    assert trace.scaled({3: 0.5}).logits_BC.tolist() == [[0.5, -0.5], [2, 0]]
