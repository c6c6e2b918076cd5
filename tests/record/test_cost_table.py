"""Milliseconds by length: read off a given table, and a clock that changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.new.checks import Examples
from eat_lightning.record.cost_table import Clock, CostTable, measured_table, table_of

TABLE = CostTable([10, 20], [[1.0, 2.0], [3.0, 5.0]], [2.5, 4.0], True, 0.0)


def test_times_are_linear_between_lengths_and_end_with_them():
    costs = TABLE.costs(np.array([5, 10, 15, 20, 90]))
    assert costs.cost_EB.tolist() == [[1, 1, 1.5, 2, 2], [3, 3, 4, 5, 5]]
    assert costs.head_EB is not None
    assert costs.head_EB.tolist() == [[0.5, 0.5, 0.75, 1, 1]]


def test_heads_share_what_a_pass_without_exits_saves():
    table = CostTable([10], [[1.0], [3.0], [5.0]], [4.2], True, 0.0)
    head_EB = table.costs(np.array([10])).head_EB
    np.testing.assert_allclose(head_EB, [[0.4], [0.4]])
    assert replace(table, closed_ms=[5.1]).costs(np.array([10])).always_open.all()  # noise
    assert replace(table, closes=False).costs(np.array([10])).head_EB is None


def test_the_error_is_that_of_examples_that_are_not_in_the_table():
    lengths = np.array([10, 15, 20])
    ms_EI = np.array([[1.0, 2.0, 2.0], [3.0, 4.0, 5.0]])  # the middle: 1.5 and 4 in the table
    in_table = np.array([True, False, True])
    found = table_of(lengths, ms_EI, np.array([2.5, 3.0, 4.0]), in_table, closes=True)
    assert replace(found, error=0.0) == TABLE
    assert found.error == pytest.approx(0.25 / 3)


@pytest.mark.parametrize("exit", ["confidence", "berxit"])
def test_under_the_clock_nobody_leaves_and_answers_are_the_last_layers(exit: str):
    encoder = tiny("dense", "norm_topk", exit)
    clock, batch = Clock(encoder.exit), ragged()
    with torch.inference_mode():
        trace = encoder.replacing(exit=clock)(batch)
        whole = encoder(batch, ALL_EXITS)
    assert len(clock.stops) == len(encoder.exit.layers)
    assert (trace.depth_B == 6).all()
    torch.testing.assert_close(trace.logits_BC, whole.logits_BC)


def test_a_measured_table_has_a_row_for_each_exit_and_never_falls_with_depth():
    encoder = tiny("dense", "norm_topk", "confidence")
    table = measured_table(encoder, Examples(ragged((4, 9, 14))), threads=1)
    assert table.lengths == [4, 14]
    ms_EG = np.array(table.ms)
    assert ms_EG.shape == (3, 2)
    assert (np.diff(ms_EG, axis=0) > 0).all()
    assert (len(table.closed_ms), table.closes) == (2, True)
    assert encoder.exit.layers == [3, 4]


def test_an_exit_named_at_the_last_layer_is_the_end():
    encoder = tiny("dense", "none", "confidence")
    encoder = encoder.replacing(exit=Confidence(0.9, [3, 6]))
    table = measured_table(encoder, Examples(ragged((4, 9, 14))), threads=1)
    assert len(table.ms) == 3
    assert table.ms[1] == table.ms[2]
