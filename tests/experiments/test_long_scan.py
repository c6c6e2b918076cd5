"""The scan of long texts: its numbers by hand, and the page's table from the kept rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eat_lightning.deploy.adapt.work import Passed
from eat_lightning.runs import jsonl
from experiments.long_texts.scan import ROWS, Scan, ScanRow, share, table

PAGE = Path(__file__).parents[2] / "experiments/long_texts/page.md"


def test_the_page_s_table_is_of_the_kept_rows():
    rows = jsonl.read(ROWS, ScanRow)
    assert {row.is_static for row in rows} == {True, False}
    assert table(rows) in PAGE.read_text("utf-8")


def test_lost_are_texts_that_the_original_finds():
    scan: Any = object.__new__(Scan)
    scan.labels_N = np.array([1, 1, 1, 0])
    original, found = passed_of([1, 1, 0, 1]), passed_of([1, 0, 1, 1])
    scan.theirs = original
    assert scan.counts(found) == (1, 3, pytest.approx(2 / 3), 1.0)


def passed_of(found: list[int]) -> Passed:
    """Answers in which these texts are found."""
    return Passed(np.array([[0.5, each] for each in found]), np.full(len(found), 6))


def test_a_share_of_time_is_over_the_same_texts():
    ms_N = np.array([1.0, 10.0, 100.0])
    assert share(ms_N, 4 * ms_N) == pytest.approx((0.25, 0.25, 0.25))
    value, low, high = share(ms_N, np.array([1.0, 10.0, 200.0]))
    assert (value, low, high) == pytest.approx((111 / 211, 0.5, 1.0), abs=0.01)
