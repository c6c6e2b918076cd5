"""The toy grammar: labels right by construction, seeded, disjoint splits, any task."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from eat_lightning.answer_kind import MULTI
from eat_lightning.data import grammar
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import tokenizer_for, toy_tokenizer
from eat_lightning.data.toy import ToyData
from eat_lightning.errors import ConfigError

TOO_MANY = ("banking77", "goemotions")  # labels for the grammar's adjectives
TASKS = [
    path
    for path in sorted((Path(__file__).parents[2] / "configs/task").glob("*.yaml"))
    if path.stem not in TOO_MANY
]
SMALL = {"num_train": 240, "num_validation": 60, "calibration": 80}
MNLI = ["entailment", "neutral", "contradiction"]


@pytest.fixture(scope="module")
def tokenizer():
    return toy_tokenizer()


def task_of(path: Path) -> Task:
    return instantiate(OmegaConf.load(path), _convert_="all")


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_any_task(path: Path, tokenizer, tmp_path: Path):
    task = task_of(path)
    assert ToyData.faults(task, **SMALL) == []
    sets = grammar.label_sets(task) if grammar.several(task) else []
    small = SMALL | ({"num_train": 20 * len(sets)} if sets else {})
    data = ToyData(task, tokenizer, **small, cache_dir=str(tmp_path))
    first_texts = [set(data.split(name).source.texts[0]) for name in data.names]
    assert len(set.union(*first_texts)) == sum(map(len, first_texts)), "splits share a text"
    split = data.split("train")
    levels, counts = np.unique(split.labels, axis=0, return_counts=True)
    assert len(levels) == (6 if task.regression else len(sets) or task.num_labels)
    assert len(set(counts)) == 1
    assert set(split.difficulty) == set(range(5))
    words = {word for column in split.source.texts for text in column for word in text.split()}
    assert words <= grammar.WORDS
    assert len(data.split("select")) == 20
    assert len(data.split("certificate")) == 40


@pytest.mark.parametrize("name", TOO_MANY)
def test_too_many_labels_are_one_line(name: str):
    [fault] = ToyData.faults(task_of(TASKS[0].with_name(f"{name}.yaml")), **SMALL)
    assert fault == f"data=toy makes up to 24 labels of this shape, task {name} has more"


def test_sets_of_labels_by_hand():
    """What is said of the film, and not denied, are its labels."""
    task = Task("t", ["text"], ["a", "b", "c"], ["f1_micro"], problem_type=MULTI)
    groups = [grammar.ADJECTIVES[i : i + 8] for i in (0, 8, 16)]
    for number in range(140):
        example = grammar.make(task, 0, "train", number)
        said = [part for part in example.texts[0].split(" and ") if " not " not in part]
        words = {word for part in said for word in part.split()}
        assert example.label == [int(bool(words & {*group})) for group in groups]
        assert sum(example.label) <= 2


def test_an_example_is_a_pure_function():
    task = Task("t", ["a", "b"], MNLI)
    once = grammar.make(task, 3, "train", 1234)
    assert once == grammar.make(task, 3, "train", 1234)
    assert once != grammar.make(task, 4, "train", 1234)


def test_feeling_by_hand():
    """Read the sentence the way a person does: find the clause that counts, count negations."""
    task = Task("t", ["sentence"], ["negative", "positive"])
    for number in range(300):
        example = grammar.make(task, 0, "train", number)
        main = example.texts[0].split(" but ")[-1].split(" , ")[-1]
        flips = sum(main.count(word) for word in (" not ", "nobody ", "doubt ", "false "))
        positive = main.split()[-1] in grammar.ADJECTIVES[12:]
        assert example.label == (positive + flips) % 2, example
        asides = example.texts[0].count(" was ") - 1
        assert example.difficulty == flips + asides


def test_tokenizer_reloads(tokenizer, tmp_path: Path):
    tokenizer.save_pretrained(tmp_path)
    again = tokenizer_for(str(tmp_path))
    text, pair = "The plot was not dull, é4@Q", "so what?"
    assert again(text, pair) == tokenizer(text, pair)
    assert again.get_vocab() == tokenizer.get_vocab()


def test_no_tokenizer(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"encoder.pretrained=no/such .* hub") as caught:
        tokenizer_for("no/such")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="holds no tokenizer") as caught:
        tokenizer_for(str(tmp_path))
    assert "\n" not in str(caught.value)
