"""What is wrong with data, each fault in one line that names file, column and value."""

import csv
import json
import socket
from pathlib import Path

import pytest
from helpers.parquet import write

from eat_lightning.answer_kind import MULTI
from eat_lightning.data import hub
from eat_lightning.data.glue import GlueData
from eat_lightning.data.source import read
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.errors import ConfigError

PAIR = Task("pair", ["one", "two"], ["no", "yes"], groups="question_graph")
SCORE = Task("score", ["one", "two"], [], metrics=["pearson"])


def columns_of(num: int) -> dict[str, list]:
    numbers = range(num)
    return {
        "one": [f"question {i}" for i in numbers],
        "two": [f"answer {i}" for i in numbers],
        "label": [i % 2 for i in numbers],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "validation"):
        write(tmp_path / f"pair/{split}.parquet", **columns_of(30))
    return tmp_path


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args, **kwargs):
        raise AssertionError("a test asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    hub.reachable.cache_clear()


def only(faults: list[str]) -> str:
    assert len(faults) == 1, faults
    assert "\n" not in faults[0]
    return faults[0]


def test_a_sound_folder_has_no_faults(folder: Path):
    assert GlueData.faults(PAIR, str(folder)) == []


def test_no_data_names_both_remedies(no_hub):
    task = Task("sst2", ["sentence"], ["no", "yes"], hub_config="sst2")
    fault = only(GlueData.faults(task))
    assert "data.dir=" in fault
    assert "EAT_DATA" in fault
    assert "hub" in fault
    with pytest.raises(ConfigError, match=r"data.dir="):
        GlueData(task, toy_tokenizer()).split("train")
    assert "task own is not on the hub" in only(GlueData.faults(Task("own", ["x"], ["a", "b"])))


def test_hub_splits_have_their_own_names(monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(*args, split: str):
        asked.append((*args, split))
        return datasets.Dataset.from_dict({"x": ["a", "b"], "label": [1, 0]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    task = Task("m", ["x"], ["no", "yes"], hub_config="m", validation={"validation": "matched"})
    source = read(task, None, "validation")
    assert (source.texts, source.labels.tolist()) == ([["a", "b"]], [1, 0])
    assert len(read(task, None, "train")) == 2
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
