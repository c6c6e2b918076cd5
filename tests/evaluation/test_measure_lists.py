"""Lists measured: strategies by hand, and the command on a folder with a tiny cross-encoder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import drawn_texts, save_classifier
from helpers.finished import config_of
from helpers.records import list_record

from eat_lightning.data.query_lists import read_query_lists
from eat_lightning.deploy.rerank import command as rerank
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation import command as command
from eat_lightning.evaluation.list_strategies import (
    Cascade,
    Cut,
    DepthCosts,
    ListBench,
    Pairs,
    Scheduled,
    Strategy,
)
from eat_lightning.evaluation.lists import ROWS, ListMeasureSettings, ListRow, ListSubject
from eat_lightning.record.lists import ranks
from eat_lightning.record.point import Point
from eat_lightning.runs import jsonl

NUM, SIZE, KEEP = 100, 8, 3


def by_hand() -> ListBench:
    """Two lists of four; a layer costs 10, a head 1, the small model 3 a pair."""
    full = np.array([[0.0] * 8, [4.0, 3.0, 2.0, 1.0, 4.0, 1.0, 3.0, 2.0], [4.0, 3.0, 2.0, 1.0] * 2])
    lists = np.repeat([0, 1], 4)
    whole = list_record(full, full[-1], lists)
    small = list_record(np.array([[0.0] * 8, [1.0, 2.0, 3.0, 4.0] * 2]), full[-1], lists)
    layers, heads = np.array([[0.0], [10.0], [20.0]]), np.array([[1.0], [1.0], [0.0]])
    wide, once = np.ones((1, 8)), np.array([[0.0], [3.0]])
    costs = {
        "fp32": DepthCosts(layers * wide, heads * wide),
        "small": DepthCosts(once * wide, 0 * once * wide),
    }
    grade_B = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0])
    return ListBench({"fp32": whole, "small": small}, costs, grade_B)


def test_a_schedule_pays_for_its_heads():
    lists = by_hand()
    ran = Scheduled(Point(counts={1: 2})).replay(lists)
    assert lists.kept_Q(ran).tolist() == [100.0, 50.0]
    assert lists.cost(ran) == (8 * 11 + 4 * 10) / 160


def test_candidates_that_are_cut_stand_behind_for_nothing():
    lists = by_hand()
    ran = Cut(0.5, 1).replay(lists)
    assert ranks(ran, lists.list_B).tolist() == [0, 1, 2, 3] * 2
    assert lists.cost(ran) == 4 * 11 / 160
    assert Cut(0.25, 2).replay(lists).flops_B.sum() == 4 * 20  # no fewer than are kept


def test_a_cascade_pays_for_both():
    lists = by_hand()
    ran = Cascade(0.5).replay(lists)
    assert ranks(ran, lists.list_B).tolist() == [3, 2, 0, 1] * 2
    assert lists.kept_Q(ran).tolist() == [0.0, 0.0]
    assert lists.cost(ran) == (8 * 3 + 4 * 20) / 160


def test_ndcg_and_mrr():
    """The relevant candidate is second in the first list and fourth in the second."""
    lists = by_hand()
    ran = Scheduled(Point(counts={})).replay(lists)
    assert lists.ndcg_Q(ran) == pytest.approx([100 / np.log2(3), 100 / np.log2(5)])
    assert lists.mrr_Q(ran).tolist() == [50.0, 25.0]


def test_a_part_is_the_first_stages_first():
    lists = by_hand().part(np.array([1]), 3)
    assert lists.list_B.tolist() == [0, 0, 0]
    assert lists.records["fp32"].guesses[1][:, 0].tolist() == [4.0, 1.0, 3.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder, a smaller one, its folder by `rerank`, and queries with judgements."""
    root = tmp_path_factory.mktemp("lists")
    kind = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}, "num_labels": 1}
    save_classifier(root / "model", **kind)
    save_classifier(root / "small", **kind, num_hidden_layers=1)
    texts = drawn_texts(NUM * (SIZE + 1))
    rows = [
        {"query": query, "candidates": texts[NUM + SIZE * i : NUM + SIZE * (i + 1)]}
        for i, query in enumerate(texts[:NUM])
    ]
    rows = [row | {"relevance": [1] + [0] * (SIZE - 1)} for row in rows]
    (root / "lists.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = [f"classifier='{root}/model'", f"queries='{root}/lists.jsonl'", f"to='{root}/adapted'"]
    few = [f"keep={KEEP}", "agree=0.7", "heads.epochs=[2]", "least_steps=400", "times.repeats=1"]
    rerank.rerank(config_of("rerank", *given, *few))
    return root


def settings(folder: Path, *words: str) -> dict[str, Any]:
    given = [f"run=['{folder}/adapted']", f"queries='{folder}/lists.jsonl'", "timed_lists=2"]
    return config_of("measure", *given, "sizes=[5,8,20]", "timing.repeats=1", *words)


def test_the_command(folder: Path, capsys: pytest.CaptureFixture):
    command.measure(settings(folder, f"small='{folder}/small'"))
    out = capsys.readouterr().out
    assert "size 20: fewer than 12 lists" in out
    rows = jsonl.read(folder / "adapted" / ROWS, ListRow)
    assert {row.size for row in rows} == {5, 8}
    whole = [row for row in rows if row.strategy == "all layers" and row.dtype == "fp32"]
    assert [(row.kept, row.cost) for row in whole] == [(100.0, 1.0)] * 2
    assert {row.num_lists for row in rows} == {NUM - round(NUM / 3)}
    assert all(row.ms and row.ms > 0 and row.ndcg is not None for row in rows)
    grid = [row for row in rows if row.strategy == "fewer of both"]
    assert [(row.more, row.low, row.high) for row in grid] == [(0.0, 0.0, 0.0)] * 2


@pytest.fixture(scope="module")
def some(folder: Path) -> tuple[ListSubject, list[Pairs], ListBench]:
    given = settings(folder, f"small='{folder}/small'")
    plan = ListMeasureSettings.of(given)
    subject = ListSubject.open(plan)
    few = read_query_lists(plan.queries)[:12]
    found = [subject.pairs(one) for one in few]
    return subject, found, subject.lists(few, found)


@pytest.mark.parametrize(
    "strategy",
    [
        Scheduled(Point(counts={})),
        Scheduled(Point(counts={0: 6, 1: 4})),
        Scheduled(Point(counts={}, weights="small")),
        Cut(0.1, 1),
        Cut(0.5, 1),
        Cut(0.7, 2),
        Cascade(0.1),
        Cascade(0.5),
    ],
    ids=str,
)
def test_live_is_what_scores_say(
    strategy: Strategy, some: tuple[ListSubject, list[Pairs], ListBench]
):
    """What is timed gives the scores that the row was judged by, of all who went on."""
    subject, found, lists = some
    trace = strategy.replay(lists)
    behind = 1 if isinstance(strategy, Cascade) else -1  # the depth of who did not go on
    for number, pairs in enumerate(found):
        here_B = (lists.list_B == number) & (trace.depth_B > behind)
        with torch.inference_mode():
            live = strategy.run(subject.models, pairs).logits_BC[:, 0].numpy()
        np.testing.assert_allclose(np.sort(live), np.sort(trace.logits_BC[here_B, 0]), atol=1e-5)


def test_what_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"split=test is for runs, and run= is a reranker"):
        command.measure(settings(folder, "split=test"))
    with pytest.raises(ConfigError, match=r"run must be one folder that .* got 2"):
        command.measure(settings(folder) | {"run": [str(folder / "adapted")] * 2})
    with pytest.raises(ConfigError, match=r"queries must name a file of lists: queries=\.\.\."):
        command.measure(settings(folder) | {"queries": None})
    with pytest.raises(ConfigError, match=r"lists.jsonl is for a folder that `eat rerank` wrote"):
        command.measure(settings(folder) | {"run": str(tmp_path)})
    few = tmp_path / "few.jsonl"
    few.write_text('{"query": "a", "candidates": ["b"], "relevance": [1, 2]}')
    with pytest.raises(ConfigError, match="relevance of list 1 must be 1 numbers"):
        command.measure(settings(folder) | {"queries": str(few)})
    with pytest.raises(ConfigError, match="small=other is for a folder that `eat rerank` wrote"):
        command.measure(config_of("measure", "run=x", "small=other"))
