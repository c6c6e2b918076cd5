"""GLUE data, on small and on real files: batches, order and resume, the cache and splits; and what
is wrong with data, each fault in one line that names file, column and value."""

import csv
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.parquet import write
from hydra.utils import instantiate
from omegaconf import OmegaConf

from eat_lightning.answer_kind import MULTI
from eat_lightning.data import hub
from eat_lightning.data.batching import (
    Order,
    Place,
    dealt,
    shares,
    shuffled_batches,
    sorted_batches,
)
from eat_lightning.data.glue import GlueData
from eat_lightning.data.source import read, read_hub
from eat_lightning.data.split import identity, make_split, tokenize
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.errors import ConfigError

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


def test_tokens_are_cached(data: GlueData, folder: Path):
    """Others of the same lengths, put into the cache, are those that are found."""
    source = data.source("validation")
    args = source, data.tokenizer, 32, folder / "cache"
    first = make_split("v", *args)
    (path,) = (folder / "cache").iterdir()
    kept = dict(np.load(path))
    np.savez(path, **kept | {"ids": kept["ids"] + 1})
    again = make_split("v", *args)
    assert again.key == first.key == path.stem
    assert np.array_equal(again.tokens.ids, first.tokens.ids + 1)
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


SCORE = Task("score", ["one", "two"], [], metrics=["pearson"])


def only(faults: list[str]) -> str:
    assert len(faults) == 1, faults
    assert "\n" not in faults[0]
    return faults[0]


def test_no_data_names_both_remedies():
    task = Task("sst2", ["sentence"], ["no", "yes"], hub_config="sst2")
    fault = only(GlueData.faults(task))
    assert "data.dir=" in fault
    assert "EAT_DATA" in fault
    assert "hub" in fault
    with pytest.raises(ConfigError, match=r"data.dir="):
        GlueData(task, toy_tokenizer()).split("train")
    assert "task own is not on the hub" in only(GlueData.faults(Task("own", ["x"], ["a", "b"])))


def test_hub_splits_have_their_own_names():
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(*args, split: str):
        asked.append((*args, split))
        return datasets.Dataset.from_dict({"x": ["a", "b"], "label": [1, 0]})

    task = Task("m", ["x"], ["no", "yes"], hub_config="m", validation={"validation": "matched"})
    found = [read_hub(task, split, load).to_pydict() for split in ("validation", "train")]
    assert found == [{"x": ["a", "b"], "label": [1, 0]}] * 2
    assert asked == [("nyu-mll/glue", "m", "matched"), ("nyu-mll/glue", "m", "train")]


def test_an_unreachable_hub_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hub.reachable.cache_clear()
    assert not hub.reachable()
    with hub.as_reachable():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    hub.reachable.cache_clear()


def test_missing_column(folder: Path):
    columns = columns_of(10)
    del columns["two"]
    write(folder / "pair/train.parquet", **columns)
    path = folder / "pair/train.parquet"
    assert only(GlueData.faults(PAIR, str(folder))) == (
        f"{path}: there is no column two, only one, label"
    )


BAD_LABELS = [
    (PAIR, [0, 1, 7, 2], "label must be in 0..1 (no, yes), got 7 in row 2"),
    (PAIR, [0, None, 1, 1], "label must be in 0..1 (no, yes), got None in row 1"),
    (PAIR, ["no", "maybe", "no", "no"], "label must be in 0..1 (no, yes), got 'maybe' in row 1"),
    (SCORE, ["1", "2", "3", "4"], "column label must hold numbers, got string"),
    (PAIR, [0.0, 1.0, 0.5, 0.0], "column label must hold numbers, got double"),
    (SCORE, [0.0, 5.5, 1.0, 1.0], "label must be in 0.0..5.0, got 5.5 in row 1"),
]


@pytest.mark.parametrize(("task", "labels", "message"), BAD_LABELS, ids=[b[2] for b in BAD_LABELS])
def test_bad_labels(folder: Path, task: Task, labels: list, message: str):
    good = columns_of(4)
    for split, values in (("train", labels), ("validation", [0, 1, 1, 0])):
        write(folder / f"{task.name}/{split}.parquet", **{**good, "label": values})
    path = folder / task.name / "train.parquet"
    assert only(GlueData.faults(task, str(folder))) == f"{path}: {message}"
    with pytest.raises(ConfigError, match="label"):
        read(task, str(folder), "train")


ROWS = [("NA", "", "yes"), ("a, b", 'say "so"\nnow', "no"), ("3", "ü", "yes")]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_other_formats_hold_the_same(folder: Path, ending: str):
    """Texts that look like numbers, or like nothing, stay texts; the digest is that of parquet."""
    (folder / "pair/train.parquet").unlink()
    path = folder / f"pair/train.{ending}"
    with path.open("w", newline="", encoding="utf-8") as file:
        if ending == "csv":
            csv.writer(file).writerows([("one", "two", "label"), *ROWS])
        for row in ROWS if ending == "jsonl" else []:
            file.write(json.dumps(dict(zip(("one", "two", "label"), row, strict=True))) + "\n")
    assert GlueData.faults(PAIR, str(folder)) == []
    found = read(PAIR, str(folder), "train")
    one, two, _ = (list(column) for column in zip(*ROWS, strict=True))
    assert found.texts == [one, two]
    write(folder / "pair/train.parquet", one=one, two=two, label=[1, 0, 1])
    assert found.digest == read(PAIR, str(folder), "train").digest


@pytest.mark.parametrize(
    ("ending", "lines", "number"),
    [
        ("csv", ["one,two,label", "a,b,yes", '"c\nd",e,no', "", "f,g,maybe"], 6),
        ("csv", ["one,two,label", "a,b,maybe"], 2),
        ("jsonl", ['{"one": "a", "two": "b", "label": "yes"}', "", '{"one": "", "two": ""}'], 3),
    ],
)
def test_a_fault_names_the_line_of_a_text_file(
    folder: Path, ending: str, lines: list[str], number: int
):
    (folder / "pair/train.parquet").unlink()
    (folder / f"pair/train.{ending}").write_text("\n".join(lines) + "\n")
    said = only(GlueData.faults(PAIR, str(folder)))
    assert said.endswith(f" in line {number}")


def test_bad_files(folder: Path):
    path = folder / "pair/validation.parquet"
    write(path, one=[], two=[], label=[])
    assert "the split is empty" in GlueData.faults(PAIR, str(folder))[-1]
    write(path, **{**columns_of(2), "two": [1, 2]})
    assert (
        only(GlueData.faults(PAIR, str(folder))) == f"{path}: column two must hold text, got int64"
    )
    path.write_bytes(b"not parquet at all, but long enough")
    assert "not a readable parquet file" in only(GlueData.faults(PAIR, str(folder)))


def test_all_faults_of_the_arguments(folder: Path):
    faults = GlueData.faults(
        PAIR, str(folder), batch_size=0, tokens_per_batch=4, max_length=2, extra=["more"],
        drop_sources=["x"],
    )  # fmt: skip
    assert faults == [
        "data.batch_size must be 1 or more, got 0",
        "data.tokens_per_batch must be 8 or more, got 4",
        "data.max_length must be 8 or more, got 2",
        f"data.dir: there is no file {folder}/more/train.parquet (or .csv, .jsonl), "
        "which task pair needs",
        f"data.drop_sources: there is no file {folder}/pair/train_sources.parquet",
    ]
    faults = GlueData.faults(Task("x", ["a"], ["b", "c"]), extra=["more"])
    assert faults[0] == "data.extra=['more'] needs data.dir"


SEVERAL = Task("pair", ["one", "two"], ["joy", "fear"], ["f1_micro"], problem_type=MULTI)


@pytest.mark.parametrize("names", [[["joy"], [], ["joy", "fear"]], [[0], [], [0, 1]]])
def test_sets_of_labels_are_read_by_number_or_by_name(tmp_path: Path, names: list):
    numbers = {k: v[:3] for k, v in columns_of(3).items() if k != "label"}
    write(tmp_path / "pair/train.parquet", **numbers, labels=names)
    labels = read(SEVERAL, str(tmp_path), "train").labels
    assert labels.tolist() == [[1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0], [2]], "labels must each be in 0..1 (joy, fear), got [2] in row 1"),
        ([["joy"], ["hate"]], "labels must each be in 0..1 (joy, fear), got ['hate'] in row 1"),
        ([[0], None], "labels must each be in 0..1 (joy, fear), got None in row 1"),
        ([[0.5], [1.0]], "column labels must hold lists of numbers or of names, got list"),
        ([0, 1], "column labels must hold lists of numbers or of names, got int64"),
    ],
)
def test_what_is_no_set_of_labels_is_one_line(tmp_path: Path, labels: list, message: str):
    texts = {k: v for k, v in columns_of(2).items() if k != "label"}
    for split in ("train", "validation"):
        write(tmp_path / f"pair/{split}.parquet", **texts, labels=labels)
    faults = GlueData.faults(SEVERAL, str(tmp_path))
    assert len(faults) == 2
    assert message in faults[0]
    assert "\n" not in faults[0]
