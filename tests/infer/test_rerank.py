"""Lists whose candidates leave between layers: by hand, and live against replay."""

import numpy as np
import pytest
import torch
from models import ragged, tiny

from eat_lightning.infer.rerank import ListSchedule, Reranked, places, rerank
from eat_lightning.model.recorder import ALL_EXITS

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
    found = ListSchedule({0: 3, 1: 1}).replayed(score_DB, LIST_B)
    # list 0 has three: all pass the embedding, and candidate 1 alone passes layer 1
    assert found.depth_B.tolist() == [1, 2, 1, 0, 1, 2, 1]
    assert found.place_B.tolist() == [2, 0, 1, 3, 1, 0, 2]


def test_who_got_further_stands_before_whatever_the_scores():
    found = Reranked(np.array([5.0, -5.0, 1.0]), np.array([1, 2, 1]), np.zeros(3, int))
    assert found.place_B.tolist() == [1, 0, 2]


@pytest.mark.parametrize("counts", [{}, {0: 2}, {1: 3, 3: 2}, {0: 3, 2: 1}])
def test_live_is_what_a_replay_says(counts: dict[int, int]):
    encoder, batch = score_encoder(), pairs()
    with torch.inference_mode():
        guesses = encoder(batch, ALL_EXITS).guesses
    score_DB = np.stack([guesses[d][:, 0].numpy() for d in sorted(guesses)])
    replay = np.concatenate([score_DB[:4], np.zeros((2, 7)), score_DB[4:]])  # 4, 5: no head
    expected = ListSchedule(counts).replayed(replay, LIST_B)
    trace = rerank(encoder, batch, LIST_B, ListSchedule(counts))
    found = Reranked.of(trace, LIST_B)
    assert found.depth_B.tolist() == expected.depth_B.tolist()
    assert found.score_B == pytest.approx(expected.score_B, abs=1e-5)
    assert (found.depth_B < 6).any() == bool(counts)
    assert {*trace.reasons} == ({"outranked", "last_layer"} if counts else {"last_layer"})
    assert ((trace.tokens_LB > 0).sum(0) == trace.depth_B).all()


def test_a_list_does_not_depend_on_the_other():
    encoder, batch, schedule = score_encoder(), pairs(), ListSchedule({0: 3, 2: 1})
    both = Reranked.of(rerank(encoder, batch, LIST_B, schedule), LIST_B)
    for number in (0, 1):
        rows = np.flatnonzero(number == LIST_B)
        alone = batch.take(torch.from_numpy(rows))
        one = Reranked.of(rerank(encoder, alone, LIST_B[rows], schedule), LIST_B[rows])
        assert one.depth_B.tolist() == both.depth_B[rows].tolist()
        assert one.score_B == pytest.approx(both.score_B[rows], abs=1e-5)
