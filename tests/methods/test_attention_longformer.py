"""Longformer's window, by hand."""

import pytest
import torch

from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.model.contracts import Where


def sees(pattern: Longformer, length: int, layer: int = 1, step: int = 1) -> torch.Tensor:
    """Who sees whom among `length` tokens that are left, `step` apart in the text."""
    place = torch.arange(length)
    q = Where(place[:, None], step * place[:, None], torch.tensor(length), layer)
    k = Where(place[None], step * place[None], torch.tensor(length), layer)
    return pattern.sees(q, k)


def test_window_and_global_cls():
    expected = [
        [1, 1, 1, 1, 1, 1],  # [CLS] sees all
        [1, 1, 1, 0, 0, 0],  # and is seen by all
        [1, 1, 1, 1, 0, 0],
        [1, 0, 1, 1, 1, 0],
        [1, 0, 0, 1, 1, 1],
        [1, 0, 0, 0, 1, 1],
    ]
    assert sees(Longformer(window=2), 6).int().tolist() == expected


def test_window_counts_the_tokens_that_are_left():
    near, far = sees(Longformer(window=4), 12), sees(Longformer(window=4), 12, step=7)
    assert torch.equal(near, far)


def test_chosen_layers():
    pattern = Longformer(window=2, layers=[2])
    assert sees(pattern, 6, layer=1).all()
    assert not sees(pattern, 6, layer=2).all()
    assert pattern.sees_all(100, layer=1)
    assert not pattern.sees_all(100, layer=2)


@pytest.mark.parametrize("window", [2, 4, 8])
def test_sees_all_says_what_sees_does(window: int):
    pattern = Longformer(window)
    for length in range(1, 12):
        assert pattern.sees_all(length, 1) == bool(sees(pattern, length).all())
