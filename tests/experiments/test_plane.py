"""The plane: two models in a row as the layers of one, by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from models import ragged, tiny

from eat_lightning.infer.recorded import Recorded
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.packed import Batch
from experiments.plane.__main__ import HERE, main
from experiments.plane.gatekeeper import best_chain, loss
from experiments.plane.kept import KeptModel, crossed, first_half, of_rows
from experiments.plane.models import RunModel
from experiments.plane.rows import Plane, row_of
from experiments.plane.show import report
from experiments.plane.systems import Chain, Joined, Judged, Part, System, alone, unanimous
from experiments.plane.timing import Timed, drawn, rules_at, speed_up

SURE, UNSURE = 6.0, 0.5  # log-odds of the class that is named


def model(name: str, said: dict[int, list[float]], layers: int = 2) -> RunModel:
    """A model of two classes whose log-odds at each layer are given; every label is 1."""
    guesses = {k: np.array([[0.0, x] for x in odds], np.float32) for k, odds in said.items()}
    size = len(next(iter(said.values())))
    tokens_LB = np.full((layers, size), 8)
    recorded = Recorded(np.ones(size, int), tokens_LB[0], guesses, tokens_LB, Never())
    head = {"kind": "pooled", "layers": sorted(said)}
    encoder = tiny(num_labels=2, head=head, num_layers=layers)
    run: Any = SimpleNamespace(name=name)
    return RunModel(name, "sst2", name, recorded, recorded, "same", run, encoder)


def small_and_large() -> tuple[RunModel, RunModel]:
    """Of ten examples the small one is right and sure of seven, wrong and unsure of three; the
    large one, of four layers, is right and sure of all."""
    small = model("small", {1: [UNSURE] * 10, 2: [SURE] * 7 + [-UNSURE] * 3})
    return small, model("large", {4: [SURE] * 10}, layers=4)


def test_costs_of_a_row_add_up():
    small, large = small_and_large()
    row = Joined.of([Part.whole(small), Part.end(large)], "dev")
    early, whole = small.costs(small.dev, [1, 2])[:, 0]
    assert row.cost_EB[:, 0].tolist() == pytest.approx(
        [early, whole, whole + large.fixed_cost(large.dev, 4)[0]]
    )
    assert early < whole
    assert small.fixed_cost(small.dev, 2)[0] < whole  # without the early head


def test_a_cascade_asks_the_second_where_the_first_is_unsure():
    small, large = small_and_large()
    full, first = (m.fixed_cost(m.dev, m.last)[0] for m in (large, small))
    chain = Chain([Part.end(small), Part.end(large)], full)
    share = first / full + 0.3
    (judged,) = chain.judged([0.01, share + 0.01], [])  # the first cannot be had
    assert judged.answer_B.tolist() == [1] * 10
    assert judged.cost_B.mean() / full == pytest.approx(share)
    (unchanged,) = chain.judged([], [0.99])
    assert (unchanged.answer_B == 1).all()


def test_unanimous_exits_answer():
    first = model("small", {1: [SURE, -SURE, -SURE], 2: [SURE, SURE, -SURE]})
    second = model("large", {4: [SURE, SURE, SURE]}, layers=4)
    (judged,) = unanimous(first, second).points
    assert judged.answer_B.tolist() == [1, 1, 0]
    stays = first.costs(first.dev, [1, 2])[-1, 0]
    dearer = stays + second.fixed_cost(second.dev, 4)[0]
    assert judged.cost_B.tolist() == pytest.approx([stays, dearer, stays])


def test_gatekeepers_loss():
    """Right on the first text, wrong on the second, both with probability 0.9."""
    logits_BC = torch.log(torch.tensor([[0.9, 0.1], [0.9, 0.1]]))
    found = float(loss(logits_BC, torch.tensor([0, 1]), alpha=0.25))
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    expected = (0.25 * -np.log(0.9) + 0.75 * (np.log(2) - entropy)) / 2
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_alpha_that_defers_best_on_the_cut_is_taken():
    good, large = small_and_large()
    bad = model("small", {1: [UNSURE] * 10, 2: [UNSURE] * 7 + [-SURE] * 3})  # wrong ones are sure
    full = large.fixed_cost(large.dev, 4)[0]
    assert best_chain({0.1: bad, 0.9: good}, large, full, [0.9])[0] == 0.9


def kept(name: str, odds: list[float], flops: dict[int, float]) -> KeptModel:
    said = model(name, dict.fromkeys(flops, odds)).dev
    return KeptModel(name, "sst2", name, said, said, "same", flops, mean_tokens=8.0)


def test_costs_of_kept_rows_follow_the_tokens():
    made = kept("a", [SURE] * 4, {1: 10.0, 2: 20.0})
    longer = replace(made.dev, lengths=np.array([4, 8, 8, 16]))
    assert made.costs(longer, [1, 2]).tolist() == [[5, 10, 10, 20], [10, 20, 20, 40]]
    assert made.fixed_cost(longer, 2).tolist() == [10, 20, 20, 40]


def test_each_half_is_judged_under_what_the_other_has_chosen():
    """The chosen class is the most frequent answer of the cut."""
    odds = [SURE] * 6 + [-SURE] * 4
    made = kept("a", odds, {2: 20.0})
    first_B = first_half(made.dev)

    def systems(models: Any) -> list[System]:
        (only,) = models
        chosen = int((only.cut.guesses[2][:, 1] > 0).mean() > 0.6)
        size = len(only.dev)
        return [System("a", "x", (only,), [Judged("s", np.ones(size), np.full(size, chosen))])]

    (system,) = crossed([made], systems)
    right_B = np.array(odds) > 0
    expected = np.where(first_B, right_B[~first_B].mean() > 0.6, right_B[first_B].mean() > 0.6)
    assert system.points[0].answer_B.tolist() == expected.astype(int).tolist()
    assert system.models == (made,)
    assert len(of_rows(made.dev, first_B)) == first_B.sum()


def test_halves_keep_groups_whole():
    group_B = np.repeat([3, 5, 7, 9], 5)
    recorded = replace(kept("a", [SURE] * 20, {2: 1.0}).dev, group_B=group_B)
    first_B = first_half(recorded)
    assert not {*group_B[first_B]} & {*group_B[~first_B]}


def plane() -> Plane:
    small, large = small_and_large()
    points = [Judged("cost 0.9", np.full(10, 3.0), np.ones(10, int), asked=0.9)]
    both = System("small > large", "cascade by confidence", (small, large), points)
    full = float(large.fixed_cost(large.dev, 4).mean())
    return Plane.of([*alone(small), *alone(large), both], full, "abc")


def test_the_front():
    """The cascade costs 3 FLOPs here and is always right: nothing else is on the front."""
    assert [row.kind for row in plane().front] == ["cascade by confidence"]


def test_differences_are_paired():
    made = plane()
    small = next(row for row in made.rows if row.setting == "layer 2")
    large = next(row for row in made.rows if row.setting == "layer 4")
    assert (small.accuracy, large.accuracy, small.unchanged) == (70, 100, 100)
    assert made.difference(large, small).strip("*").startswith("+30.00 (")
    assert made.difference(large, large) == "+0.00 (+0.00 to +0.00)"


def test_rows_and_who_was_right_are_kept(tmp_path: Path):
    made = plane()
    made.write(tmp_path)
    again = Plane.read(tmp_path, "sst2")
    assert again.rows == made.rows
    assert again.right.equals(made.right)
    main([f"to={tmp_path}"])
    assert "| small > large | cascade by confidence |" in (tmp_path / "report.md").read_text()


def test_a_point_of_the_cut_is_judged_on_dev():
    """row_of reads answers and costs of dev alone."""
    small, large = small_and_large()
    judged = Judged("cost 0.5", np.full(10, 5e8), np.array([1] * 9 + [0]), asked=0.5)
    row = row_of(System("a", "exits", (small, large), [judged]), judged, 1e9, "abc")
    assert (row.share, row.gflops, row.accuracy, row.num_examples) == (0.5, 0.5, 90, 10)


@pytest.mark.slow
def test_the_report_follows_from_the_kept_rows(tmp_path: Path):
    for path in sorted(HERE.glob("*/*.jsonl")):
        text = report(Plane.read(path.parent, path.stem), tmp_path)
        assert text in (path.parent / "report.md").read_text("utf-8")


def test_a_point_of_two_models_is_one_rule_for_each():
    """Two early exits, the first's end, then one early exit of the second."""
    small = model("small", {1: [SURE], 2: [SURE], 3: [SURE]}, layers=3)
    large = model("large", {2: [SURE], 4: [SURE]}, layers=4)
    rules, least = rules_at([Part.whole(small), Part.whole(large)], [0.7, 0.8, 0.9, 0.6])
    assert least == 0.9
    assert (rules["small"].tau, rules["small"].layers) == ([0.7, 0.8], [1, 2])
    assert (rules["large"].tau, rules["large"].layers) == ([0.6], [2])
    ends, strict = rules_at([Part.end(small), Part.end(large)], [1.0])
    assert [type(rule) for rule in ends.values()] == [Never, Never]
    assert strict == np.inf  # at the strict end all are deferred, saturated ones too


def test_timed_examples_cost_what_all_cost():
    cost_B = np.concatenate([np.full(500, 1.0), np.full(500, 3.0)])
    rows = drawn([cost_B, cost_B[::-1]], 100)
    assert cost_B[rows].mean() == 2
    assert len({*rows.tolist()}) == 100


def test_speed_up_is_the_ratio_of_means():
    static_RI, took_RI = np.full((3, 4), 6.0), np.array([[1.0, 2.0, 3.0, 2.0]] * 3)
    value, low, high = speed_up(static_RI, took_RI)
    assert value == 3
    assert 2 <= low < 3 < high <= 6


def test_only_unsure_examples_that_ran_the_whole_first_model_are_deferred():
    small, large = tiny(num_labels=2), tiny(num_labels=2)
    split = Stub()
    timed = Timed("a", "cascade", 0.5, {"s": small, "l": large}, 0.0, np.ones(5), {"l": split})
    batch = replace(ragged(), index_B=torch.arange(5) + 10)
    timed.run(batch)
    assert split.asked == []
    replace(timed, least=np.inf).run(batch)
    assert split.asked == [10, 11, 12, 13, 14]


class Stub:
    """A split that notes which examples are asked for."""

    def __init__(self):
        self.asked: list[int] = []

    def batch(self, rows_B: np.ndarray) -> Batch:
        self.asked += rows_B.tolist()
        return ragged()
