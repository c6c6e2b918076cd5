"""Schedules and certificates for lists, the orders of candidates, and measured rows of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from golden import inputs, pinned, reading, small_models
from golden.asking import UNTIMED, command
from golden.comparing import Golden
from helpers.classifiers import drawn_texts

import eat_lightning

pytestmark = pytest.mark.slow
LISTS = Golden("lists")
NUM, SIZE = 100, 10
FEW = ("heads.epochs=[4]", "least_steps=400", "times.repeats=1")
SCORE = {"labels": ["LABEL_0"], "problem_type": "regression"}
MODELS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "cross-encoder": (SCORE, ("keep=3", "agree=0.75")),
    "zero-shot": ({"labels": ["contradiction", "neutral", "ENTAILMENT"]}, ("keep=1", "agree=0.7")),
}


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def adapted(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `eat rerank` writes, with the queries beside it."""
    root, (classifier, words) = tmp_path_factory.mktemp("lists"), MODELS[name]
    small_models.save_classifier(root / "model", **classifier)
    small_models.save_classifier(root / "small", **classifier, num_layers=1)
    texts = drawn_texts(NUM * (SIZE + 1))
    rows = [
        {
            "query": query,
            "candidates": texts[NUM + SIZE * i : NUM + SIZE * (i + 1)],
            "relevance": [1] + [0] * (SIZE - 1),
        }
        for i, query in enumerate(texts[:NUM])
    ]
    (root / "lists.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = f"model={root / 'model'}", f"queries={root / 'lists.jsonl'}", f"to={root / 'to'}"
    with pinned.machine(name):
        command("rerank", *given, *FEW, *words)
    return root / "to"


def test_what_is_written(name: str, adapted: Path):
    LISTS.check(name, reading.lists(adapted))


def test_orders(name: str, adapted: Path):
    reranker = eat_lightning.load(adapted)
    rows = reading.lines_of((adapted.parent / "lists.jsonl").read_text())[:12]
    found = [
        reading.ranked(reranker.rank(row["query"], row["candidates"], keep=None)) for row in rows
    ]
    LISTS.check(f"{name}, orders", found)


@pytest.mark.data
def test_orders_of_real_texts(name: str, adapted: Path, data_dir: Path):
    reranker = eat_lightning.load(adapted)
    texts = [each["text"] for each in map(json.loads, inputs.real(data_dir))]
    lists = [(texts[i], texts[i + 1 : i + 20]) for i in range(0, len(texts), 20)]
    found = [reading.ranked(reranker.rank(*one, keep=None)) for one in lists]
    LISTS.check(f"{name}, orders of real texts", found)


def test_rows(name: str, adapted: Path):
    if name == "zero-shot":
        pytest.skip("the rows of one model are enough")
    root = adapted.parent
    given = f"run={adapted}", f"queries={root / 'lists.jsonl'}", f"small={root / 'small'}"
    command("measure", *given, "sizes=[5,10]", *UNTIMED)
    LISTS.check(f"{name}, rows", reading.list_rows(adapted))
