"""Answers that int8 changes with factors of inputs and without, on texts that gave none."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.classifiers import drawn_texts

from experiments.adapt.rounding import error_of, rounding_row


def test_a_row_counts_both_on_fresh_texts(classifier: Path, tmp_path: Path):
    shutil.copytree(classifier, tmp_path / "model")
    pd.DataFrame({"text": drawn_texts(100)}).to_parquet(tmp_path / "texts.parquet")
    pd.DataFrame({"text": drawn_texts(160)}).to_parquet(tmp_path / "fresh.parquet")
    row = rounding_row(tmp_path, "sst2", {"columns": ["text"], "length": 32})
    assert 0 < row["num"] <= 160
    assert 0 <= row["with"] <= row["num"]
    assert 0 <= row["without"] <= row["num"]
    assert rounding_row(tmp_path, "sst2", {"columns": ["text"], "length": 32}).values == row.values


def test_the_error_is_beside_the_mean_of_an_example():
    """Logits of +1 and -1 that become 3 and 1 are moved alike; +2 and -2 are off by as much as
    there is."""
    exact = np.array([[1.0, -1.0]])
    assert error_of(exact, exact + 2) == 0
    assert error_of(exact, 2 * exact) == pytest.approx(1.0)
