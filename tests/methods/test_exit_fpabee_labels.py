"""Exits in a row that say nearly the same of every label, by hand."""

import pytest
from odds import bits, labelled

from eat_lightning.methods.exit.fpabee_labels import FlexiblePatienceLabels


def test_the_label_that_moves_most_counts():
    """0.5 after 0.9: JS = H(0.7) - (H(0.9) + 1) / 2 = 0.147 bits, whatever the other label does."""
    rule = FlexiblePatienceLabels(0.1, [2, 4])
    moved, still = labelled([0.9, 0.2], [0.5, 0.2]), labelled([0.9, 0.2], [0.9, 0.2])
    expected = bits(0.7) - (bits(0.9) + 1) / 2
    assert rule._apart(moved)[0].tolist() == pytest.approx([expected], abs=1e-6)
    assert (rule.decides(moved).tolist(), rule.decides(still).tolist()) == ([0], [1])
    assert rule.margin(moved).tolist() == pytest.approx([expected - 0.1], abs=1e-6)


def test_one_guess_has_nothing_to_be_like():
    assert FlexiblePatienceLabels(1.0, [2, 4]).decides(labelled([0.9, 0.2])).tolist() == [0]
