"""A cross-encoder and lists into a folder, with a tiny BERT."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import drawn_texts, save_classifier
from helpers.finished import config_of
from helpers.old_folders import old_folder
from helpers.records import list_record

import eat_lightning
from eat_lightning.bundle.bundle import Bundle
from eat_lightning.bundle.reranker import ListModel
from eat_lightning.config import parsed
from eat_lightning.data.query_lists import read_query_lists
from eat_lightning.deploy.adapt import list_run
from eat_lightning.deploy.adapt.list_run import ListResult, adapt_lists, certified
from eat_lightning.deploy.adapt.lists import QueryLists
from eat_lightning.deploy.adapt.plan import ListSettings
from eat_lightning.deploy.convert.command import convert
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.model import open_model
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.reranking import check_reranker
from eat_lightning.errors import ConfigError
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim
from eat_lightning.record.list_fit import descended, falling, fit_lists
from eat_lightning.record.list_losses import layers_share, lost_Q, swapped_at_most, swapped_Q
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record

KEEP = 3


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross-encoder") / "tiny"
    return save_classifier(folder, id2label={0: "LABEL_0"}, label2id={"LABEL_0": 0}, num_labels=1)


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 queries with 12 candidates each, one of them twice and one with too few."""
    path = tmp_path_factory.mktemp("queries") / "lists.jsonl"
    texts = drawn_texts(1300)
    rows = [
        {"query": q, "candidates": texts[100 + 12 * i : 112 + 12 * i]}
        for i, q in enumerate(texts[:100])
    ]
    rows += [rows[0], {"query": "few", "candidates": ["one", "two", "three"]}]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def settings(model: Path, queries: Path, to: Path, *words: str) -> dict[str, Any]:
    given = [f"classifier='{model}'", f"queries='{queries}'", f"to='{to}'", f"keep={KEEP}"]
    few = ["agree=0.8", "heads.epochs=[2]", "least_steps=100", "times.repeats=1"]
    return config_of("rerank", *given, *few, *words)


def plan_of(*given: Any) -> ListSettings:
    config = settings(*given)
    config["model"] = config.pop("classifier")
    return ListSettings.of(config)


@pytest.fixture(scope="module", autouse=True)
def one_dtype() -> Iterator[None]:
    """The dtype is chosen by time, and a test must not hang on that: fp32 is the only one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_run, "DTYPES", ("fp32",))
        yield


@pytest.fixture(scope="module")
def made(
    cross_encoder: Path, queries: Path, tmp_path_factory: pytest.TempPathFactory
) -> ListResult:
    return adapt_lists(plan_of(cross_encoder, queries, tmp_path_factory.mktemp("made") / "to"))


@pytest.fixture(scope="module")
def zero_shot(queries: Path, tmp_path_factory: pytest.TempPathFactory) -> ListResult:
    """Adapted from a classifier of entailment, whose order needs all layers."""
    folder = tmp_path_factory.mktemp("nli")
    names = ["contradiction", "neutral", "ENTAILMENT"]
    numbers = {name: number for number, name in enumerate(names)}
    save_classifier(folder / "tiny", id2label=dict(enumerate(names)), label2id=numbers)
    return adapt_lists(plan_of(folder / "tiny", queries, folder / "to"))


def test_lists_that_are_too_short_or_doubled_are_counted(queries: Path):
    lists = QueryLists.of(read_query_lists(str(queries)), KEEP)
    assert len(lists) == 100
    left_out = "1 with too few candidates, 1 doubled"
    assert lists.line == f"102 lists read, {left_out}, of at most 12 candidates"
    rows_B, list_B = lists.pairs_of(np.array([2, 0]))
    assert rows_B.tolist() == [*range(24, 36), *range(12)]
    assert list_B.tolist() == [0] * 12 + [1] * 12
    assert lists.texts.rows[24] == (lists.queries[2], lists.candidates[2][0])


def test_the_folder_ranks_as_its_schedule_says(made: ListResult, queries: Path):
    reranker: Any = eat_lightning.load(made.plan.to)
    assert reranker.counts == made.point.counts
    assert made.point.counts
    assert made.cost < 1
    lists = QueryLists.of(read_query_lists(str(queries)), KEEP)
    ranked = reranker.rank(lists.queries[0], lists.candidates[0], keep=None)
    assert sorted(each.index for each in ranked) == list(range(12))
    assert [each.depth for each in ranked] == sorted((e.depth for e in ranked), reverse=True)
    assert {each.depth for each in ranked} == {*made.point.counts, 2}
    assert reranker.rank("nothing", []) == []


@pytest.mark.parametrize("name", ["made", "zero_shot"])
def test_a_gateway_s_model_ranks_alike(name: str, queries: Path, request: pytest.FixtureRequest):
    """One that two lists reach together, too."""
    lists = QueryLists.of(read_query_lists(str(queries)), KEEP)
    made: ListResult = request.getfixturevalue(name)
    plan = parsed(ServeSettings, config_of("serve", f"run='{made.plan.to}'"))
    model = open_model(plan)
    check_reranker(model.about)
    pairs = [(lists.queries[i], text) for i in (0, 1) for text in lists.candidates[i]]
    found = {}
    for places, answers in model.stream([RequestExample([*pair]) for pair in pairs]):
        found |= dict(zip(places, answers, strict=True))
    reranker: Any = eat_lightning.load(made.plan.to)
    for number in (0, 1):
        for each in reranker.rank(lists.queries[number], lists.candidates[number], keep=None):
            answer = found[12 * number + each.index]
            assert answer["depth"] == each.depth
            assert answer["score"] == pytest.approx(each.score, abs=1e-5)
            assert answer["exit_reason"] == ("last_layer" if each.depth == 2 else "outranked")


@pytest.mark.parametrize("dtype", ["bf16", pytest.param("int8", marks=pytest.mark.slow)])
def test_another_dtype_ranks_as_it_was_certified(
    dtype: str, cross_encoder: Path, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(list_run, "DTYPES", (dtype,))
    result = adapt_lists(plan_of(cross_encoder, queries, tmp_path / "to", "agree=0.5"))
    backend = ListModel.open(tmp_path / "to")
    assert (backend.dtype, result.point.dtype) == (dtype, dtype)
    lists = QueryLists.of(read_query_lists(str(queries)), KEEP)
    ranked = eat_lightning.load(tmp_path / "to").rank(
        lists.queries[0], lists.candidates[0], keep=None
    )
    counts = [sum(each.depth > depth for each in ranked) for depth in backend.counts]
    assert counts == [*backend.counts.values()]


def test_a_reranker_of_0_3_is_converted(made: ListResult, queries: Path, tmp_path: Path):
    old = old_folder(Bundle(Path(made.plan.to)), tmp_path / "old")
    convert(config_of("convert", f"old='{old}'", f"to='{tmp_path / 'new'}'"))
    lists = QueryLists.of(read_query_lists(str(queries)), KEEP)
    asked = lists.queries[0], lists.candidates[0]
    ranked = eat_lightning.load(tmp_path / "new").rank(*asked)
    assert ranked == eat_lightning.load(made.plan.to).rank(*asked)


def test_full_depth_is_the_original_bit_for_bit(made: ListResult, cross_encoder: Path):
    folder = Path(made.plan.to)
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (cross_encoder / weights).read_bytes()
    card = (folder / "README.md").read_text()
    assert made.won in card
    assert made.in_order in card
    assert "pipeline_tag: text-ranking" in card
    assert not folder.with_name("to.part").exists()


def test_zero_shot_labels_are_ordered_as_by_transformers(zero_shot: ListResult, queries: Path):
    """At full depth; layers of the schedule are tested with a cross-encoder."""
    from transformers import pipeline

    assert zero_shot.point.counts
    assert (
        "pipeline_tag: zero-shot-classification" in Path(zero_shot.plan.to, "README.md").read_text()
    )
    reranker: Any = eat_lightning.load(zero_shot.plan.to)
    reranker.counts = {}
    theirs: Any = pipeline("zero-shot-classification", model=zero_shot.plan.to)
    lists, template = QueryLists.of(read_query_lists(str(queries)), KEEP), "so {}"
    for text, labels in zip(lists.queries[:5], lists.candidates[:5], strict=True):
        found = theirs(text, labels, hypothesis_template=template)
        ranked = reranker.rank(text, labels, keep=None, template=template)
        assert [labels[each.index] for each in ranked] == found["labels"]
        odds = np.exp([each.score for each in ranked])
        assert odds / odds.sum() == pytest.approx(found["scores"], abs=1e-4)


def test_a_text_that_is_cut_has_one_list(zero_shot: ListResult):
    """Each label leaves another number of its tokens."""
    backend, words = ListModel.open(zero_shot.plan.to), drawn_texts(20)
    long = " ".join(words)
    pairs = [(long, "a"), (words[0], "a"), (long, "a film"), (words[0], "a film")]
    windows = [read.windows[0] for read in backend.reader(pairs)]
    assert [len(each.ids) == backend.max_length for each in windows] == [True, False] * 2
    assert backend.lists_of(windows).tolist() == [0, 1, 0, 1]


@pytest.mark.nightly
def test_folders_of_sentence_transformers_open_and_ours_open_there(
    cross_encoder: Path, queries: Path, tmp_path: Path
):
    """Without its files beside the weights a score would be a sigmoid there."""
    package = pytest.importorskip("sentence_transformers", reason="is in no extra")
    theirs = package.CrossEncoder(str(cross_encoder), activation_fn=torch.nn.Identity())
    theirs.save_pretrained(str(tmp_path / "theirs"))
    adapt_lists(plan_of(tmp_path / "theirs", queries, tmp_path / "to"))
    lists = QueryLists.of(read_query_lists(str(queries)), KEEP)
    query, texts = lists.queries[0], lists.candidates[0]
    scores = theirs.predict([(query, text) for text in texts])
    ours_there = package.CrossEncoder(str(tmp_path / "to"))
    assert ours_there.predict([(query, text) for text in texts]) == pytest.approx(scores, abs=1e-5)
    reranker: Any = eat_lightning.load(tmp_path / "to")
    reranker.counts = {}
    for each in reranker.rank(query, texts, keep=None):
        assert each.score == pytest.approx(scores[each.index], abs=1e-4)


def record(keep: int = 2) -> Record:
    """Two lists of four, of which two are wanted; depth 1 puts one wanted candidate third."""
    wanted_B = np.array([4.0, 3.0, 2.0, 1.0] * 2)
    depth_1 = np.array([4.0, 3.0, 2.0, 1.0, 4.0, 2.0, 3.0, 1.0])
    score_DB = np.stack([-wanted_B, depth_1, wanted_B])
    return list_record(score_DB, wanted_B, np.repeat([0, 1], 4), keep)


def test_a_schedule_is_the_cheapest_at_its_price():
    """At depth 1 the wanted stand at places 1, 2, 1 and 3: three pass where a loss is dear; where
    it is cheap candidates leave at the embedding, where the wanted stand last."""
    assert descended(record(), {}, 1000) == {1: 3}
    assert descended(record(), {}, 0.1) == {0: 2}
    lists = record()
    costs = [layers_share(lists, lists.replay(each.point)) for each in fit_lists(lists).points]
    assert costs == sorted(costs, reverse=True)
    assert falling({0: 9, 1: 9, 2: 4, 3: 6}) == {0: 9, 2: 4}


def test_lost_and_cost_by_hand():
    lists = record()
    trace = lists.replay(Point(counts={1: 2}))
    assert lost_Q(lists, trace).tolist() == [0.0, 0.5]
    assert layers_share(lists, trace) == (8 * 1 + 4 * 1) / 16


def test_swapped_pairs_by_hand():
    """Three of four are returned; depth 1 swaps one pair of three in the second list."""
    lists = record(keep=3)
    trace = Trace(lists.guesses[1], np.full(8, 1))
    assert swapped_Q(lists, trace).tolist() == [0.0, pytest.approx(1 / 3)]
    assert swapped_Q(record(keep=1), trace).tolist() == [0.0, 0.0]


def test_swapped_pairs_are_bounded():
    """At most so many as were drawn and some more; of 200 draws from a share of 0.1 at most 5 % are
    bounded below it, give or take."""
    random = np.random.default_rng(0)
    bounds = [swapped_at_most(random.binomial(10, 0.1, 200) / 10, 0.95, 1) for _ in range(200)]
    assert 0.1 < np.median(bounds) < 0.15
    assert sum(bound < 0.1 for bound in bounds) <= 20
    assert swapped_at_most(np.zeros(200), 0.95, 10) > swapped_at_most(np.zeros(200), 0.95, 1)


def test_certificates_are_seldom_wrong():
    """Lists of a population that loses 0.12 where 0.1 is promised: of 300 draws at most 5 % pass,
    give or take."""
    random, wrong = np.random.default_rng(0), 0
    num = 200
    for _ in range(300):
        losing_Q = random.random(num) < 0.24  # a list of two wanted loses one
        score_DB = np.zeros((2, num, 3))
        score_DB[1] = [3.0, 2.0, 1.0]
        score_DB[0] = [3.0, 2.0, 1.0]
        score_DB[0, losing_Q] = [3.0, 1.0, 2.0]
        lists = np.repeat(np.arange(num), 3)
        drawn = list_record(score_DB.reshape(2, -1), score_DB[1].ravel(), lists)
        claim = Claim("lost_candidates", 0.1, 0.95)
        wrong += len(certified([Point(counts={0: 2})], drawn, claim)) > 0
    assert wrong <= 25


def test_one_that_keeps_everything_is_certified():
    wanted_B = np.tile([4.0, 3.0, 2.0, 1.0], 120)
    whole = list_record(np.stack([wanted_B] * 3), wanted_B, np.repeat(np.arange(120), 4))
    points = [each.point for each in fit_lists(whole).points]
    holding = certified(points, whole, Claim("lost_candidates", 0.1, 0.95))
    assert holding[-1].counts == {0: 2}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["agree=0.999"], "queries: 100 distinct ones with more than 3 candidates are too few"),
        (["keep=20"], "queries: 0 distinct ones with more than 20 candidates are too few"),
    ],
)
def test_what_cannot_begin(
    words: list[str], line: str, cross_encoder: Path, queries: Path, tmp_path: Path
):
    with pytest.raises(ConfigError, match=line):
        adapt_lists(plan_of(cross_encoder, queries, tmp_path / "to", *words))
    assert not list(tmp_path.iterdir())


def test_what_is_no_list(classifier: Path, tmp_path: Path):
    path = tmp_path / "lists.jsonl"
    path.write_text('{"query": "a", "candidates": "b"}')
    with pytest.raises(ConfigError, match=r'list 1 must be \{"query": text'):
        read_query_lists(str(path))
    with pytest.raises(ConfigError, match="with entailment, and this one has other"):
        adapt_lists(plan_of(classifier, path, tmp_path / "to"))
    with pytest.raises(ConfigError, match="must be a file of"):
        read_query_lists(str(path.rename(tmp_path / "lists.csv")))


def test_another_promise_goes_on_from_the_same_passes(
    cross_encoder: Path, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """None is certified here. Other heads begin anew."""
    monkeypatch.setattr(list_run, "certified", lambda *_: [])

    def kept(*words: str) -> dict[str, int]:
        with pytest.raises(ConfigError, match="no schedule that drops candidates keeps"):
            adapt_lists(plan_of(cross_encoder, queries, tmp_path / "to", *words))
        files = [
            p for p in (tmp_path / "to.part").rglob("*") if p.suffix in (".npz", ".safetensors")
        ]
        return {path.name: path.stat().st_mtime_ns for path in files}

    first = kept()
    original = {"original-select-0000.npz", "original-certify-0000.npz"}
    assert original | {"model.safetensors"} <= first.keys()
    assert kept("agree=0.7", "confidence=0.9", "keep=4", "times.repeats=2", "threads=2") == first
    assert not kept("heads.epochs=[3]").items() & first.items()


def test_from_python(cross_encoder: Path, queries: Path, tmp_path: Path):
    """Queries as dicts; the folder that is made is temporary."""
    rows = [json.loads(line) for line in queries.read_text().splitlines()]
    few: Any = {"heads": {"epochs": [1]}, "least_steps": 50, "times": {"repeats": 1}}
    reranker = eat_lightning.adapt_reranker(cross_encoder, rows, agree=0.7, keep=KEEP, **few)
    assert reranker.certificate.claims[0].level == pytest.approx(0.3)
    reranker.save(tmp_path / "saved")
    folder, asked = reranker.folder, (rows[0]["query"], rows[0]["candidates"])
    ranked = reranker.rank(*asked, keep=None)
    assert len(ranked) == 12
    assert reranker.rank(*asked) == ranked[:10]
    del reranker
    gc.collect()
    assert not folder.exists()
    assert eat_lightning.load(tmp_path / "saved").rank(*asked) == ranked[:10]
    with pytest.raises(ValueError, match="queries: 1 distinct ones with more than 3"):
        eat_lightning.adapt_reranker(cross_encoder, rows[:1], keep=KEEP)
    with pytest.raises(ValueError, match=r"heads\.enabled is not an option"):
        eat_lightning.adapt_reranker(cross_encoder, rows, heads={"enabled": False})


def test_a_reranker_refuses_to_classify_and_has_no_canaries(made: ListResult):
    model = eat_lightning.load(made.plan.to)
    with pytest.raises(ValueError, match=r"is a reranker: call rank\(query, texts\)"):
        model.classify(["a text"])
    with pytest.raises(ValueError, match="no canaries"):
        eat_lightning.load(made.plan.to, check=True)
