"""The first stage of lists, and what is measured of them, by hand."""

import numpy as np
import pytest

from eat_lightning.deploy.adapt.list_schedule import ListRecord
from eat_lightning.runs import jsonl
from experiments.lists import measured
from experiments.lists.__main__ import (
    KEEP,
    ROWS,
    ListRow,
    Lists,
    adapted,
    of_adapted,
    of_depths,
    of_heads,
    of_ways,
)
from experiments.lists.data import BM25, ndcg


def test_bm25_by_hand():
    """Texts of 1, 2 and 3 words, 2 in mean; "b" is in two of three: log(1 + 1.5 / 2.5) = 0.470."""
    texts = ["a", "a b", "b b c"]
    scores = BM25(texts).scores("b unknown")
    rare = np.log(1 + 1.5 / 2.5)
    once = 1 / (1 + 0.9 * (0.6 + 0.4 * 2 / 2))
    twice = 2 / (2 + 0.9 * (0.6 + 0.4 * 3 / 2))
    assert scores.tolist() == pytest.approx([0.0, rare * once, rare * twice])


def test_ndcg_by_hand():
    """Grades 2 and 1 at places 1 and 3 against places 1 and 2."""
    order, grade = np.array([[0, 1, 2], [2, 1, 0]]), np.array([[2, 0, 1], [0, 0, 0]])
    best = 2 + 1 / np.log2(3)
    assert ndcg(order, grade, 3).tolist() == pytest.approx([(2 + 1 / 2) / best, 0.0])


def test_the_grid_takes_the_first_stage_s_best():
    """Two lists of twelve, ten wanted: of the first eleven by the first stage at full depth, one of
    the wanted may be missed."""
    score_B = np.array([*range(12), *range(12, 0, -1)], dtype=float)
    record = ListRecord(
        np.stack([-score_B, score_B]), score_B, np.ones(24, int), np.repeat([0, 1], 12), KEEP
    )
    lists = Lists(record, np.zeros((2, 12), int))
    found = lists.cut(11, 1)
    assert lists.kept_Q(found).tolist() == [90.0, 100.0]
    assert lists.cost(found) == pytest.approx(11 / 12)
    assert lists.cost(lists.cut(12, 0)) == 0


def test_gaps_by_hand():
    """One list of eleven at one depth, where the best candidate stands last, 1 below the tenth."""
    early, late = np.arange(11.0), np.array([11.0, *range(10)])
    record = ListRecord(np.stack([early, late]), late, np.ones(11, int), np.zeros(11, int), KEEP)
    lists = Lists(record, np.zeros((1, 11), int))
    assert lists.gaps(0.0).tolist() == [1.0]
    assert lists.kept_Q(lists.by_gap(np.array([1.0]))).tolist() == [100.0]
    assert lists.kept_Q(lists.by_gap(np.array([0.5]))).tolist() == [90.0]


def test_the_page_holds_the_tables_of_its_rows():
    rows = jsonl.read(ROWS, ListRow)
    page = ROWS.parents[1].joinpath("page.md").read_text("utf-8")
    for table in (of_depths(rows), of_ways(rows), of_heads(rows), of_adapted(adapted())):
        assert table in page


def test_the_page_holds_the_tables_of_measured_rows():
    rows = jsonl.read(measured.KEPT, measured.ListRow)
    page = ROWS.parents[1].joinpath("page.md").read_text("utf-8")
    assert measured.strategies(rows, "fresh60.jsonl") in page
    assert measured.sizes(rows, "fresh60.jsonl", adapted().dtype) in page
