"""The attack finds a planted weakness, keeps to its budget, repeats itself, and counts rightly."""

from dataclasses import dataclass
from pathlib import Path

import finished
import numpy as np
import pytest
import torch
from exports import make_run

from eat_lightning.infer.recorded import Recorded
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.packed import Batch
from eat_lightning.report import figures
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run
from experiments.attack.__main__ import attack
from experiments.attack.draw import figure_of
from experiments.attack.edits import Neighbours, word_at
from experiments.attack.goals import GOALS
from experiments.attack.greedy import Attempt, Budget, Search
from experiments.attack.rows import AttackRow
from experiments.attack.rules import Rule
from experiments.attack.table import table_of

TEXTS = [("the film has one key and more",), ("nothing of it here",), ("a key at the end: key",)]


def nearby() -> Neighbours:
    words = ["film", "movie", "house", "##film", "key", "lock"]
    vectors = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [1, 0], [-1, 0.2], [-1, 0.1]])
    return Neighbours({word: i for i, word in enumerate(words)}, vectors, most=2)


@dataclass
class Planted:
    """Exits at 3 and 4 of 6 are sure of class 0 while the word "key" stands in the text; without it
    they are `without`. The last layer always says class 0."""

    without: list[float]
    queries: int = 0

    def __call__(self, texts, labels_B) -> Recorded:
        self.queries += len(texts)
        has_B = np.array(["key" in text[0].split() for text in texts])[:, None]
        early_BC = np.where(has_B, [[4.0, -4.0]], [self.without]).astype(np.float32)
        last_BC = np.tile(np.array([4.0, -4.0], np.float32), (len(texts), 1))
        lengths_B = np.array([len(text[0].split()) for text in texts])
        guesses = {3: early_BC, 4: early_BC, 6: last_BC}
        tokens_LB = np.tile(lengths_B, (6, 1))
        batch = Batch.from_lists([[]] * len(texts))
        return Recorded(
            labels_B, lengths_B, guesses, tokens_LB, Never(), batch=lambda rows_B: batch
        )


def of(exit, *policies) -> Rule:
    return Rule("a rule", exit, tuple(exit.layers), policies)


def attacked(victim, rule, goal: str, kinds=("characters",), **budget) -> list[Attempt]:
    labels_B = np.zeros(len(TEXTS), np.int64)
    search = Search(victim, rule, GOALS[goal], Budget(**budget), kinds, nearby(), seed=1)
    return search(TEXTS, labels_B)


def changed_word(text, changed) -> str:
    (pair,) = [(a, b) for a, b in zip(text[0].split(), changed[0].split(), strict=True) if a != b]
    return pair[1]


@pytest.mark.parametrize("kinds", [("characters",), ("words",)])
def test_slowdown_finds_the_one_word_that_holds_an_exit(kinds):
    victim = Planted(without=[0.0, 0.0])
    rule = of(Confidence(0.9, layers=[3, 4]))
    one, none, two = attacked(victim, rule, "slowdown", kinds, edits=3, words=2, candidates=6)
    assert one.reached
    assert [word_at(TEXTS[0], place) for place in one.edited] == ["key"]
    assert changed_word(TEXTS[0], one.text) != "key"
    assert none.text == TEXTS[1]  # runs to the last layer as it is: nothing to slow down
    assert (none.queries, none.reached) == (1, False)
    assert two.edited == {}  # of two such words no single edit helps: greedy is greedy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return make_run(folder, "dense", "norm_topk", "confidence")


def config_of(run: Path, *overrides: str) -> dict:
    small = ["examples=12", "candidates=4", "edits=2", "words=2"]
    small.append(
        "rules=[{kind: confidence, tau: 0.7}, {kind: patience, patience: 1},"
        "{kind: confidence, tau: 0.7, policy: [{kind: veto, margin: 0.9}]}, {kind: never}]"
    )
    return finished.config_of("attack", f"run='{run}'", *small, *overrides)


def test_from_a_run_to_rows(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = attack(config_of(run, f"to={tmp_path}"))
    rules = ["tau 0.7", "patience 1 at 1/2", "tau 0.7, veto 0.9", "never"]
    assert [(r.goal, r.against, r.under) for r in rows] == [
        *(("slowdown", a, u) for a in rules[:3] for u in rules),
        *(("evasion", a, u) for a in rules for u in rules),
    ]
    for row in rows:
        assert row.flops_worst <= row.flops_bound
        assert row.queries_max <= 1 + 20 + 2 * 4
        assert row.edits <= 2
        if row.under == "never":
            assert (row.depth_before, row.depth_after, row.exits_after) == (3, 3, 0)
        if row.goal == "slowdown" and not row.transfer:
            assert row.depth_after >= row.depth_before
        if row.goal == "evasion" and not row.transfer:
            assert row.accuracy_after <= row.accuracy_before
    own = [r for r in rows if not r.transfer and r.goal == "slowdown"]
    assert any(r.depth_after > r.depth_before for r in own)
    path = tmp_path / "rows.jsonl"
    assert jsonl.read(path, AttackRow) == rows
    split = Run.open(run).data().split("validation")
    assert not any(split.text(i)[0] in path.read_text() for i in range(12))  # no text is kept
    assert attack(config_of(run, f"to={tmp_path}")) == rows  # the same seed, the same result
    assert len(jsonl.read(path, AttackRow)) == len(rows)
    printed = capsys.readouterr().out
    assert f"written: {path}" in printed
    assert all(rule in printed for rule in rules)
    assert [len(table_of(rows, goal).lines) for goal in ("slowdown", "evasion")] == [12, 16]
    assert figures.save(figure_of(rows), tmp_path)["png"].is_file()
