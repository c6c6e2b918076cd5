"""Random tokens, drawn from the text itself."""

from dataclasses import replace

import torch
from models import packed

from eat_lightning.methods.reduction.random import Random
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Batch, example_noted


def rows(ids: list[list[int]]):
    batch = Batch.from_lists(ids)
    made = packed([[float(i)] for i in range(len(batch.ids_N))], [len(one) for one in ids])
    return replace(made, notes={"example": example_noted(batch, made.layout, made.special_N)})


def kept(ids: list[list[int]], **changes) -> list[float]:
    made = Random(**{"ratio": 0.5, "layers": [1], **changes})
    return made(rows(ids), Evidence(), 1).x_ND.flatten().tolist()


def test_half_of_the_others_stay_and_cls():
    text = [2, *range(5, 45)]
    assert len(kept([text])) == 1 + 20
    assert kept([text])[0] == 0


def test_every_position_is_drawn_equally_often():
    texts = [[2, *range(5 + i, 15 + i)] for i in range(400)]
    score_N = Random(layers=[1]).score(rows(texts), Evidence())
    assert 0 <= float(score_N.min()) < float(score_N.max()) < 1
    means_L = score_N.view(400, 11).mean(0)  # a mean of 400 draws is off by 0.0144 (one sigma)
    torch.testing.assert_close(means_L, torch.full((11,), 0.5), atol=0.06, rtol=0)
