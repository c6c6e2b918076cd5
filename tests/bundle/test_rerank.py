"""Lists whose candidates leave between layers, by hand."""

import numpy as np
import pytest
import torch
from helpers.models import ragged, tiny
from helpers.records import list_record

from eat_lightning.bundle.rerank import rerank
from eat_lightning.model.trace import Trace
from eat_lightning.record.lists import places, ranks
from eat_lightning.record.point import Point

LIST_B = np.array([0, 0, 0, 1, 1, 1, 1])


def score_encoder():
    return tiny(num_labels=1, head={"kind": "pair", "layers": [0, 1, 2, 3], "texts": 2})


def pairs():
    """Seven pairs, of two lists."""
    batch = ragged((9, 5, 12, 7, 6, 11, 8))
    position_N = torch.cat([torch.arange(n) for n in batch.lengths_B.tolist()])
    batch.types_N[:] = (position_N >= 4).long()
    return batch


def test_places_within_lists():
    keys = np.array([3.0, 1.0, 2.0, 1.0, 0.0, 1.0, 5.0])
    assert places(keys, LIST_B).tolist() == [2, 0, 1, 1, 0, 2, 3]  # of equal ones the first


def test_candidates_leave_by_their_place_and_keep_it():
    """Behind the embedding 3 of each list go on, behind layer 1 one does."""
    score_DB = np.array(
        [
            [0.9, 0.1, 0.5, 0.1, 0.2, 0.3, 0.4],
            [0.2, 9.0, 0.6, 9.0, 0.7, 0.8, 0.1],
            [0.0, 9.0, -1.0, 9.0, 9.0, -2.0, 9.0],
        ]
    )
    trace = list_record(score_DB, score_DB[-1], LIST_B).replay(Point(counts={0: 3, 1: 1}))
    # list 0 has three: all pass the embedding, and candidate 1 alone passes layer 1
    assert trace.depth_B.tolist() == [1, 2, 1, 0, 1, 2, 1]
    assert ranks(trace, LIST_B).tolist() == [2, 0, 1, 3, 1, 0, 2]


def test_who_got_further_stands_before_whatever_the_scores():
    trace = Trace(np.array([[5.0], [-5.0], [1.0]]), np.array([1, 2, 1]))
    assert ranks(trace, np.zeros(3, int)).tolist() == [1, 0, 2]


def test_a_list_does_not_depend_on_the_other():
    encoder, batch, schedule = score_encoder(), pairs(), {0: 3, 2: 1}
    both = rerank(encoder, batch, LIST_B, schedule).numpy()
    for number in (0, 1):
        rows = np.flatnonzero(number == LIST_B)
        alone = batch.take(torch.from_numpy(rows))
        one = rerank(encoder, alone, LIST_B[rows], schedule).numpy()
        assert one.depth_B.tolist() == both.depth_B[rows].tolist()
        assert one.logits_BC == pytest.approx(both.logits_BC[rows], abs=1e-5)
