"""Dense attention: nothing is hidden."""

import torch

from eat_lightning.methods.attention.dense import Dense
from eat_lightning.model.contracts import Where


def test_everybody_sees_everybody():
    place = torch.arange(5)
    q = Where(place[:, None], place[:, None], torch.tensor(5), 1)
    k = Where(place[None], place[None], torch.tensor(5), 1)
    assert Dense().sees(q, k).all()
    assert Dense().sees(q, k).shape == (5, 5)
    assert Dense().sees_all(longest=10_000, layer=1)
