"""Batches end to end: nothing is lost between packed rows and padded blocks."""

import torch
from helpers.models import packed

from eat_lightning.model.packed import Batch, Layout

CPU = torch.device("cpu")


def test_from_lists():
    batch = Batch.from_lists([[1, 2, 3], [4]], [[0, 0, 1], [0]])
    assert batch.ids_N.tolist() == [1, 2, 3, 4]
    assert batch.types_N.tolist() == [0, 0, 1, 0]
    assert batch.lengths_B.tolist() == [3, 1]
    assert (batch.size, batch.num_global) == (2, 2)
    assert Batch.from_lists([[1, 2], [3]]).types_N.tolist() == [0, 0, 0]


def test_layout_by_hand():
    layout = Layout(torch.tensor([2, 1, 3]), CPU)
    assert layout.offsets_B.tolist() == [0, 2, 3]
    assert layout.segment_N.tolist() == [0, 0, 1, 2, 2, 2]
    assert layout.index_N.tolist() == [0, 1, 0, 0, 1, 2]
    assert layout.real_BL.int().tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    padded = layout.pad(torch.arange(6))
    assert padded.tolist() == [[0, 1, 1], [2, 2, 2], [3, 4, 5]]  # padding repeats the last token
    assert layout.unpad(padded).tolist() == [0, 1, 2, 3, 4, 5]


def test_take_and_only():
    vectors = packed([[float(i)] for i in range(6)], [2, 1, 3])
    vectors.size_N = torch.tensor([1, 2, 1, 1, 3, 1])
    vectors.weight_N = -torch.arange(6.0)
    vectors.strength_B = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    vectors.original_B, vectors.notes = torch.tensor([2, 1, 3]), {"bucket": torch.arange(6)}
    vectors.penalties = {"p": torch.tensor([1.0, 2.0, 3.0])}
    shorter = vectors.take(torch.tensor([0, 2, 3, 5]), torch.tensor([1, 1, 2]))
    assert shorter.x_ND.flatten().tolist() == [0, 2, 3, 5]
    assert shorter.position_N.tolist() == [0, 0, 0, 2]
    assert shorter.size_N.tolist() == [1, 1, 1, 1]
    assert shorter.weight_N.tolist() == [0, -2, -3, -5]
    assert shorter.notes["bucket"].tolist() == [0, 2, 3, 5]
    assert shorter.special_N.tolist() == [True, True, True, True]
    stay_B = torch.tensor([True, False, True])
    fewer = vectors.only(stay_B)
    assert vectors.rows_of(stay_B).tolist() == [0, 1, 3, 4, 5]
    assert fewer.x_ND.flatten().tolist() == [0, 1, 3, 4, 5]
    assert fewer.layout.lengths_B.tolist() == [2, 3]
    assert fewer.strength_B.tolist() == [0.1, 0.3]
    assert fewer.size_N.tolist() == [1, 2, 1, 3, 1]
    assert (fewer.penalties["p"].tolist(), fewer.original_B.tolist()) == ([1.0, 3.0], [2, 3])
    assert fewer.with_penalty("p", torch.tensor([5.0, 0.0])).penalties["p"].tolist() == [6.0, 3.0]
