"""The row that says what altered copies change for exits."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.classifiers import drawn_texts

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.record.record import Record
from experiments.adapt.copies import copies_row, laxest, layers_and_changes


@pytest.fixture
def record() -> Record:
    """Two layers and four texts: the exit is sure of three, and wrong about the first."""
    early, last = np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)
    early[:, 0], last[:, 0] = [5, 6, 7, 0.1], [-1, 1, 1, 1]
    return Record(
        labels=np.zeros(4, int),
        lengths=np.full(4, 3),
        guesses={1: early, 2: last},
        tokens_LB=np.full((2, 4), 3),
        exit=Confidence(tau=0.5, layers=[1]),
    )


def test_layers_and_changes_are_counted(record: Record):
    assert layers_and_changes(record, Confidence(tau=0.9, layers=[1])) == (0.625, 0.25)


def test_the_rule_of_fewest_layers_is_chosen(record: Record):
    assert layers_and_changes(record, laxest(record, 0.25)) == (0.5, 0.25)
    assert layers_and_changes(record, laxest(record, 0.0)) == (0.75, 0.0)


def test_a_row_is_of_unseen_texts(classifier: Path, tmp_path: Path):
    shutil.copytree(classifier, tmp_path / "model")
    pd.DataFrame({"text": drawn_texts(400)}).to_parquet(tmp_path / "texts.parquet")
    pd.DataFrame({"text": drawn_texts(460)[400:]}).to_parquet(tmp_path / "fresh.parquet")
    row = copies_row(tmp_path, "sst2", {"columns": ["text"], "length": 32}, 1, 2, 1e-3)
    assert (row["copies"], row["num"]) == (1, 60)
    assert 0 <= row["layers_0.02"] <= row["layers_0.005"] <= 1
