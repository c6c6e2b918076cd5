"""GLUE data: batches, order and resume, the cache and splits, on small and on real files."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parquet import write
from hydra.utils import instantiate
from omegaconf import OmegaConf

from eat_lightning.data.batching import (
    Order,
    Place,
    dealt,
    shares,
    shuffled_batches,
    sorted_batches,
)
from eat_lightning.data.glue import GlueData
from eat_lightning.data.split import identity, make_split, tokenize
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import toy_tokenizer

TASKS = sorted((Path(__file__).parents[2] / "configs/task").glob("*.yaml"))
PAIR = Task("pair", ["one", "two"], ["no", "yes"], groups="question_graph")
NUM = 200


def columns_of(num: int) -> dict[str, list]:
    return {
        "one": ["was the plot " + "really " * (i % 9) + f"dull {i} ?" for i in range(num)],
        "two": [f"no {i}" for i in range(num)],
        "label": [i % 2 for i in range(num)],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "pair/train.parquet", **columns_of(NUM))
    write(tmp_path / "pair/validation.parquet", **columns_of(30))
    return tmp_path


@pytest.fixture(scope="module")
def tokenizer():
    return toy_tokenizer()


@pytest.fixture
def data(folder: Path, tokenizer) -> GlueData:
    return GlueData(PAIR, tokenizer, dir=str(folder), cache_dir=str(folder / "cache"), batch_size=8)


LENGTHS = np.random.default_rng(0).integers(2, 60, 1003)


@pytest.mark.parametrize("budget", [None, 40, 256, 1024])
def test_every_example_once(budget: int | None):
    for epoch in range(3):
        batches = shuffled_batches(LENGTHS, 0, epoch, 16, budget)
        assert sorted(np.concatenate(batches)) == list(range(1003))
        assert min(map(len, batches)) >= 1


@pytest.mark.parametrize("budget", [64, 256, 1024])
def test_a_budget_is_kept_in_as_many_batches_each_epoch(budget: int):
    epochs = [shuffled_batches(LENGTHS, 0, epoch, 16, budget) for epoch in range(5)]
    assert max(LENGTHS[batch].sum() for batches in epochs for batch in batches) <= budget
    assert len({len(batches) for batches in epochs}) == 1


def test_order_is_a_function_of_seed_and_epoch():
    def flat(seed: int, epoch: int) -> list[int]:
        return np.concatenate(shuffled_batches(LENGTHS, seed, epoch, 16)).tolist()

    assert flat(1, 2) == flat(1, 2)
    assert len({tuple(flat(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("budget", [None, 40])
def test_processes_share_the_batches_of_one(budget: int | None):
    """Whatever their number; of a batch too small for all, some have nothing that counts."""
    whole = shuffled_batches(LENGTHS, 0, 0, 16, budget)
    orders = [Order(LENGTHS, 0, 16, budget, rank, world_size=3) for rank in range(3)]
    assert len(orders[0]) == len(whole)
    for batch, *parts in zip(whole, *orders, strict=True):
        assert {part.num_global for part in parts} == {len(batch)}
        assert all(len(part.rows) for part in parts)
        counted = [part.rows for part in parts if not part.idle]
        assert len(counted) == min(3, len(batch))
        assert sorted(np.concatenate(counted)) == sorted(batch)


def test_tokens_are_dealt_and_not_examples():
    lengths = np.array([9, 40, 10, 11, 10])
    parts = dealt(np.arange(5), lengths, 2)
    assert [part.tolist() for part in parts] == [[1], [3, 2, 4, 0]]
    assert [int(lengths[part].sum()) for part in parts] == [40, 40]
    assert dealt(np.array([2, 0]), lengths, 1)[0].tolist() == [2, 0]


def test_order_resumes_within_its_epoch():
    whole = [share.rows.tolist() for share in Order(LENGTHS, 0, 16, epoch=2)]
    order = Order(LENGTHS, 0, 16, epoch=2, resume=Place(2, 5))
    assert [share.rows.tolist() for share in order] == whole[5:]
    assert len(order) == len(whole)
    order.set_epoch(3)
    assert len([*order]) == len(whole)


def test_evaluation_is_sorted():
    order = [share.rows for share in shares(sorted_batches(LENGTHS, 50), LENGTHS, 0, 1)]
    lengths = LENGTHS[np.concatenate(order)]
    assert np.all(np.diff(lengths) <= 0)
    assert len(lengths) == 1003


def test_a_batch_by_hand(data: GlueData, tokenizer):
    split = data.split("train")
    split.teacher = np.arange(2 * len(split), dtype=np.float32).reshape(-1, 2)
    batch = split.batch(np.array([7, 3, 7]), num_global=12)
    expected = [tokenizer(*split.text(i)) for i in (7, 3, 7)]
    assert batch.ids_N.tolist() == [x for each in expected for x in each["input_ids"]]
    assert batch.types_N.tolist() == [x for each in expected for x in each["token_type_ids"]]
    assert batch.lengths_B.tolist() == [len(each["input_ids"]) for each in expected]
    assert batch.labels_B.tolist() == split.labels[[7, 3, 7]].tolist()
    assert batch.index_B.tolist() == [7, 3, 7]
    assert batch.teacher_BC.tolist() == [[14, 15], [6, 7], [14, 15]]
    assert batch.num_global == 12


def test_splits_and_loaders(data: GlueData):
    sizes = {name: len(data.split(name)) for name in data.names}
    assert sizes == {
        "train": 180,
        "select": 5,
        "temperature": 5,
        "certificate": 10,
        "validation": 30,
    }
    assert len(data.train_dataloader()) == len([*data.train_dataloader()]) == 23
    rows = torch.cat([batch.index_B for batch in data.test_dataloader()])
    assert sorted(rows.tolist()) == list(range(30))
    assert sum(batch.size for batch in data.val_dataloader()) == 5


def test_what_so_many_steps_draw(data: GlueData):
    """Over the end of an epoch of 23 batches, too."""
    first = [share.rows for share in data.order(0)]
    assert data.rows_drawn(2, epochs=1).tolist() == sorted(np.concatenate(first[:2]))
    assert data.rows_drawn(24, epochs=2).tolist() == list(range(len(data.split("train"))))
    assert data.rows_drawn(-1, epochs=2).tolist() == list(range(len(data.split("train"))))
    loaded = [batch.index_B.numpy() for batch in islice(data.train_dataloader(), 2)]
    assert data.rows_drawn(2, epochs=1).tolist() == sorted(np.concatenate(loaded))


def test_limit_train_is_the_same_for_every_seed(folder: Path, tokenizer):
    texts = []
    for seed in (1, 2):
        data = GlueData(PAIR, tokenizer, dir=str(folder), limit_train=20, seed=seed)
        texts.append(data.source("train").texts)
        assert len(data.source("certificate")) == 10
    assert texts[0] == texts[1]
    assert len(texts[0][0]) == 20


def test_truncation_takes_from_the_longer_text(tokenizer):
    tokens = tokenize([["a b c d e f g h", ""], ["x y", "z " * 50]], tokenizer, 8)
    assert tokens.lengths.tolist() == [8, 8]
    assert tokens.types.tolist() == [0] * 5 + [1] * 3 + [0] * 2 + [1] * 6


def test_tokens_are_cached(data: GlueData, folder: Path, monkeypatch: pytest.MonkeyPatch):
    source = data.source("validation")
    args = source, data.tokenizer, 32, folder / "cache"
    first = make_split("v", *args)
    (path,) = (folder / "cache").iterdir()
    monkeypatch.setattr("eat_lightning.data.split.tokenize", None)
    again = make_split("v", *args)
    assert again.key == first.key == path.stem
    assert np.array_equal(again.tokens.ids, first.tokens.ids)
    assert np.array_equal(again.tokens.offsets, first.tokens.offsets)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-40], lambda b: b"", lambda b: b[:80] + b"x" * 400]
)
def test_a_damaged_cache_is_made_anew(data: GlueData, folder: Path, damage):
    source = data.source("validation")
    args = source, data.tokenizer, 32, folder / "cache"
    first = make_split("v", *args)
    (path,) = (folder / "cache").iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert np.array_equal(make_split("v", *args).tokens.ids, first.tokens.ids)
    assert path.stat().st_size == len(good)


def test_the_key_holds_text_limit_and_tokenizer(tokenizer):
    cased = toy_tokenizer()
    cased.backend_tokenizer.normalizer = None
    texts = [["ab", "c"]]
    keys = {
        identity(texts, tokenizer, 8),
        identity(texts, tokenizer, 9),
        identity([["a", "bc"]], tokenizer, 8),
        identity(texts, cased, 8),
    }
    assert len(keys) == 4
    tokenizer("a text", truncation=True, max_length=4)  # leaves its truncation behind
    assert identity(texts, tokenizer, 8) in keys


def load(path: Path) -> Task:
    return instantiate(OmegaConf.load(path), _convert_="all")


def test_paper_settings():
    tasks = {path.stem: load(path) for path in TASKS}
    assert sum(task.hub_config is not None for task in tasks.values()) == 9
    assert [tasks[x].max_length for x in ("sst2", "qqp", "mnli")] == [256, 256, 320]
    assert [tasks[x].learning_rate for x in ("sst2", "qqp", "mnli")] == [2e-5, 2e-5, 3e-5]
    assert tasks["mnli"].labels == ["entailment", "neutral", "contradiction"]
    assert tasks["stsb"].regression
    assert tasks["stsb"].num_labels == 1


@pytest.mark.data
def test_real_files_of_every_task_are_sound(data_dir: Path):
    tasks = [task for path in TASKS if (data_dir / (task := load(path)).name).is_dir()]
    assert len(tasks) > 3
    assert [(task.name, GlueData.faults(task, str(data_dir))) for task in tasks] == [
        (task.name, []) for task in tasks
    ]


@pytest.mark.data
@pytest.mark.parametrize("name", ["stsb", "goemotions"])
def test_real_data(name: str, data_dir: Path, tokenizer, tmp_path: Path):
    task = load(TASKS[0].with_stem(name))
    data = GlueData(
        task, tokenizer, dir=str(data_dir), limit_train=64, cache_dir=str(tmp_path), max_length=64
    )
    assert len(data.split("train")) == 64
    assert len(data.split("select")) >= 10
    batch = next(iter(data.val_dataloader()))
    assert batch.labels_B.dtype == (torch.float32 if task.regression else torch.int64)
    assert int(batch.lengths_B.max()) <= 64
