"""The calibration cut: by group, disjoint, seeded, blind to dev; on small and on real data."""

from pathlib import Path

import numpy as np
import pytest

from eat_lightning.data.calibration import PARTS, cut, find_roots, group_ids, pieces, plain
from eat_lightning.data.glue import GlueData
from eat_lightning.data.source import read
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.errors import ConfigError

SST2 = Task("sst2", ["sentence"], ["negative", "positive"], groups="root_phrases")
QQP = Task("qqp", ["question1", "question2"], ["no", "yes"], groups="question_graph")
MNLI = Task("mnli", ["premise", "hypothesis"], ["e", "n", "c"], groups="column:premise")


def nli(num_premises: int) -> list[list[str]]:
    rows = [(f"premise {i}", f"hypothesis {i} {k}") for i in range(num_premises) for k in range(3)]
    return [list(column) for column in zip(*rows, strict=True)]


def same(a: dict, b: dict) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_find_roots():
    phrases = ["a b c d", "b c", "c d", "d", "e f", "f", "a c"]
    assert sorted(find_roots(phrases)) == ["a b c d", "a c", "e f"]
    assert list(pieces("a b c")) == ["a", "a b", "b", "b c", "c"]


def test_roots_take_their_phrases_along():
    phrases = [f"{w} is {w}a {w}b" for w in map(str, range(60))]
    phrases += [f"is {w}a" for w in map(str, range(60))] + ["Is  7a"]
    rows = cut(SST2, [phrases], size=12)
    held = {plain(phrases[i]) for name in PARTS for i in rows[name]}
    assert len(held) == 12
    gone = held.union(*(pieces(root) for root in held))
    assert not gone & {plain(phrases[i]) for i in rows["train"]}
    assert len(rows["train"]) == 121 - 12 * 2 - any(root.startswith("7 ") for root in held)


def test_parts_are_disjoint_and_by_group():
    texts = nli(200)
    rows = cut(MNLI, texts)
    assert {name: len(rows[name]) for name in rows} == {
        "train": 540,
        "select": 15,
        "temperature": 15,
        "certificate": 30,
    }
    group = group_ids(MNLI, texts)
    sides = [set(group[chosen]) for chosen in rows.values()]
    assert len(set.union(*sides)) == sum(map(len, sides))


def test_cut_follows_its_seed():
    texts = nli(100)
    assert same(cut(MNLI, texts, seed=1), cut(MNLI, texts, seed=1))
    assert not same(cut(MNLI, texts, seed=1), cut(MNLI, texts, seed=2))


def test_linked_questions():
    texts = [["a", "b", "x", "C "], ["b", "c", "y", "d"]]
    assert group_ids(QQP, texts).tolist() == [0, 0, 1, 0]


def test_mails_of_one_thread():
    """Answers and forwards with the first mail, under whatever list; without a subject alone."""
    task = Task("mails", ["subject", "text"], ["no", "yes"], groups="thread:subject")
    subjects = [
        "Razor  down",
        "Re: razor down",
        "FWD: [list] Re[2]: Razor down",
        "re razor",
        "",
        "",
    ]
    texts = ["a", "b", "c", "d", "e", "f"]
    assert group_ids(task, [subjects, texts]).tolist() == [0, 0, 0, 1, 2, 3]
    assert group_ids(task, [["Re:", "Re:", ""], ["a", "b", "b"]]).tolist() == [0, 1, 2]


def test_giant_component_stays_in_train():
    hub = [["hub"] * 300 + [f"a{i}" for i in range(300)], [f"b{i}" for i in range(600)]]
    rows = cut(QQP, hub, size=60)
    assert set(range(300)) <= set(rows["train"])
    assert sum(len(rows[name]) for name in PARTS) == 60


def test_ineligible_rows_are_never_held():
    """Extra training sets add to train, but not what belongs to a held-out premise."""
    texts = nli(100)
    more = [column + column for column in texts]
    rows = cut(MNLI, more, num_eligible=300)
    held = np.concatenate([rows[name] for name in PARTS])
    assert held.max() < 300
    assert not set(held) & set(rows["train"] % 300)


def test_too_small_a_cut():
    with pytest.raises(ConfigError, match=r"data.calibration: .* leaves select empty"):
        cut(MNLI, nli(20), size=2)


def glue(folder: Path, task: Task, **kwargs) -> GlueData:
    return GlueData(task, toy_tokenizer(), dir=str(folder), **kwargs)


@pytest.mark.slow
@pytest.mark.data
def test_sst2_roots_on_real_data(data_dir: Path):
    phrases = read(SST2, str(data_dir), "train").texts[0]
    assert len(find_roots(map(plain, phrases))) == 6885
    rows = cut(SST2, [phrases])
    assert [len(rows[name]) for name in PARTS] == [250, 250, 500]
    assert len(rows["train"]) > 55_000
    held = {plain(phrases[i]) for name in PARTS for i in rows[name]}
    train = {plain(phrases[i]) for i in rows["train"]}
    assert not any(piece in train for root in held for piece in [root, *pieces(root)])


@pytest.mark.data
def test_clean_mnli_with_lingnli_on_real_data(data_dir: Path, tmp_path: Path):
    task = Task(
        "mnli", MNLI.columns, ["entailment", "neutral", "contradiction"], groups=MNLI.groups
    )
    assert GlueData.faults(task, str(data_dir), drop_sources=["llmsknow"], extra=["lingnli"]) == []
    data = glue(data_dir, task, drop_sources=["llmsknow"], extra=["lingnli"])
    sizes = {name: len(source) for name, source in data.parts.items()}
    held = sum(sizes[name] for name in PARTS)
    assert held == pytest.approx(2593, abs=60)
    assert 25_933 < sizes["train"] + held <= 25_933 + 44_939
    premises = [set(map(plain, source.texts[0])) for source in data.parts.values()]
    assert len(set.union(*premises)) == sum(map(len, premises))
