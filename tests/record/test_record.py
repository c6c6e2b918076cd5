"""One pass that records every exit says what running with any rule would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.models import method, ragged, tiny

from eat_lightning.answer_kind import kind_of
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import Joiner, LongTexts
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.new.checks import Examples
from eat_lightning.record.passes import record, score
from eat_lightning.record.record import Record

LAYERS = [2, 3, 4]


@pytest.fixture(scope="module")
def split() -> Examples:
    return Examples(ragged(tuple(range(1, 38))))


def test_shares_of_depths_and_reasons(split: Examples):
    """All else of a replay is compared with the live run in tests/model/test_pairs.py."""
    encoder = tiny("dense", "norm_topk", "confidence", head={"layers": LAYERS})
    outcome = record(encoder, split, batch_size=8).replay()
    with torch.inference_mode():
        trace = encoder(split.batch(np.arange(len(split))))
    assert outcome.retention_B == pytest.approx(trace.retention_B)
    assert len(outcome.exit_shares) > 1
    named = trace.reasons
    assert outcome.exit_reasons == {name: named.count(name) / len(named) for name in {*named}}


def test_records_of_some_examples_are_those_of_a_pass_over_them(split: Examples):
    encoder = tiny("dense", "norm_topk", "confidence", head={"layers": LAYERS})
    whole = replace(record(encoder, split, batch_size=8), cluster_B=np.arange(len(split)) // 2)
    mask_B = np.arange(len(split)) % 3 == 1
    for rows in (mask_B, np.flatnonzero(mask_B)):
        part = whole.take(rows)
        assert part.replay().depth_B.tolist() == whole.replay().depth_B[mask_B].tolist()
        assert part.cluster_B is not None
        assert part.cluster_B.tolist() == (np.flatnonzero(mask_B) // 2).tolist()
        assert part.batch is not None
        assert part.batch(np.array([1])).lengths_B.tolist() == [5]


def test_token_layers_by_hand(split: Examples):
    encoder = tiny("dense", "norm_topk", head={"layers": LAYERS})
    recorded = record(encoder, Examples(ragged((11,))))
    outcome = recorded.replay(method("exit", "never"))
    # 0.4 of 10 others leave after layer 2, 0.4 of 6 after layer 4: floor(2.4) = 2.
    assert outcome.tokens_LB[:, 0].tolist() == [11, 11, 7, 7, 5, 5]
    assert outcome.retention_B.tolist() == [5 / 11]
    assert recorded.token_layers_B(outcome).tolist() == [46 / 66]


@pytest.mark.parametrize("exit", ["confidence", "every_label", "predicted_error"])
def test_what_is_kept_is_read_back(exit: str, split: Examples, tmp_path: Path):
    """Of classes, of several labels and of a score with its error."""
    encoder, path = tiny("dense", "norm_topk", exit), tmp_path / "examples.parquet"
    recorded = replace(record(encoder, split), cluster_B=np.arange(len(split)) // 2)
    recorded.labels = np.zeros((len(split), *encoder.kind.label_shape), int)
    recorded.to_parquet(path)
    names = {"label", "length", "tokens_3", "tokens_5", "logits_3", "logits_4", "logits_6", "group"}
    assert {*pq.read_table(path).column_names} == names
    again = Record.read(path)
    assert (again.faults(), again.kind) == ([], encoder.kind)
    for one, other in zip(again.guesses.values(), recorded.guesses.values(), strict=True):
        assert (one == other).all()
    for name in ("labels", "lengths", "tokens_LB", "cluster_B"):
        assert (getattr(again, name) == getattr(recorded, name)).all()
    assert again.tokens_LB.dtype == again.labels.dtype == np.int64  # products must not overflow
    assert again.replay(encoder.exit).depth_B.tolist() == recorded.replay().depth_B.tolist()


def test_groups_are_read_back(split: Examples, tmp_path: Path):
    """Windows with how they are joined, and lists with how many are returned."""
    path, encoder = tmp_path / "record.parquet", tiny("dense", "none", "confidence", num_labels=2)
    whole = replace(record(encoder, split), group_B=np.arange(len(split)) // 3)
    long = LongTexts("windows", size=8, overlap=2, join="max", label="b")
    texts = replace(whole, join=Joiner(long, encoder.kind, ["a", "b"]))
    lists = replace(whole, keep=2)
    for kept in (texts, lists):
        kept.to_parquet(path)
        again = Record.read(path)
        assert again.group_B is not None
        assert again.group_B.tolist() == whole.group_B.tolist()
        assert (again.join, again.keep, len(again)) == (kept.join, kept.keep, len(kept))
    assert (len(texts), len(lists)) == (13, 37)
    texts.to_parquet(path)
    answers = (each.replay(encoder.exit).logits_BC for each in (texts, Record.read(path)))
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("numbers", [[0, 2, 2], [1, 1, 2], [0, 1, 0]])
def test_groups_that_are_not_in_order_are_refused(numbers: list[int], tmp_path: Path):
    kept = record(tiny(), Examples(ragged((3, 5, 4))))
    replace(kept, group_B=np.array(numbers), keep=2).to_parquet(tmp_path / "record.parquet")
    with pytest.raises(ConfigError, match="texts or lists must be numbered from 0, in their order"):
        Record.read(tmp_path / "record.parquet")


def test_where_examples_come_from_is_kept(split: Examples, tmp_path: Path):
    known = Examples(ragged((3, 5, 4)))
    known.origins = ["b", "a", "b"]  # type: ignore[attr-defined]
    for each, said in ((known, ["b", "a", "b"]), (split, None)):
        record(tiny(), each).to_parquet(tmp_path / "examples.parquet")
        assert Record.read(tmp_path / "examples.parquet").origins == said


class Task:
    def __init__(self, num_labels: int, *metrics: str):
        self.kind, self.metrics = kind_of({}, num_labels), metrics


def test_scores_by_hand():
    logits_BC, labels_B = np.array([[1, 0], [0, 1], [0, 1], [1, 0.0]]), np.array([0, 1, 0, 1])
    scores = score(Task(2, "accuracy", "f1", "matthews"), logits_BC, labels_B)
    assert scores == {"accuracy": 0.5, "f1": 0.5, "matthews": 0.0}
    scores = score(
        Task(1, "pearson", "spearman"), np.array([[1], [2], [4.0]]), np.array([0.0, 1, 9])
    )
    assert scores["spearman"] == pytest.approx(1, abs=1e-5)
    assert scores["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [0, 1, 9])[0, 1])
    constant = score(Task(1, "pearson"), np.ones((3, 1)), np.array([0.0, 1, 2]))
    assert constant == {"pearson": 0.0}


def test_an_exit_before_the_first_layer_is_kept(split: Examples, tmp_path: Path):
    encoder = tiny("dense", "none", "confidence", head={"layers": [0, 2, 3, 4]})
    record(encoder, split).to_parquet(tmp_path / "examples.parquet")
    again = Record.read(tmp_path / "examples.parquet")
    assert [*again.guesses] == [0, 2, 3, 4, 6]
    outcome = again.replay(Fixed(0))
    assert outcome.exit_shares == {0: 1.0}
    assert again.token_layers_B(outcome).tolist() == [0.0] * len(split)
    assert outcome.retention_B.tolist() == [1.0] * len(split)
