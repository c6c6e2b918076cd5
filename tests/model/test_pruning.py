"""Retention by arithmetic, against numbers worked out by hand and against the reduction itself."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from models import method, ragged, tiny

from eat_lightning.model.options import ALL_EXITS
from eat_lightning.model.specification import Specification
from experiments.retention.pruning import left, ratios_of, scheduled, staircase, with_cls

TWICE = [Fraction(3, 10)] * 2  # as the paper


def test_by_hand():
    assert scheduled(TWICE) == 0.49
    # 1 + ceil(0.7 x 4) = 4, 1 + ceil(0.7 x 3) = 4; 1 + 7 = 8, 1 + ceil(4.9) = 6; 1 + 70, 1 + 49.
    assert [left(t, TWICE) for t in (1, 5, 11, 101)] == [1, 4, 6, 50]
    assert staircase(np.array([5, 101, 5]), TWICE).tolist() == [0.8, 50 / 101, 0.8]
    assert with_cls(np.array([1, 10]), TWICE) == pytest.approx([1, 0.541])


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ({"kind": "norm_topk", "ratio": 0.3, "layers": [2, 4]}, [0.3, 0.3]),
        ({"kind": "norm_topk", "ratio": [0.5, 0.1], "layers": [2, 6]}, [0.5]),
        ({"kind": "norm_topk", "ratio": 0.3, "layers": []}, []),
        ({"kind": "none"}, None),
    ],
)
def test_the_ratios_that_act(reduction: dict, expected: list | None):
    found = ratios_of(reduction, 6)
    assert expected == (None if found is None else [float(p) for p in found])


@pytest.mark.parametrize("kind", ["norm_topk", "received_topk", "cls_topk"])
def test_the_reductions_keep_as_many(kind: str):
    encoder = tiny("dense", kind)
    lengths = list(range(1, 38))
    with torch.inference_mode():
        trace = encoder(ragged(lengths), ALL_EXITS)
    ratios = ratios_of(Specification.of("reduction", method("reduction", kind)).arguments, 6)
    assert ratios is not None
    assert trace.tokens_LB[-1].tolist() == [left(t, ratios) for t in lengths]
