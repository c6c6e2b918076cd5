"""The plane: two models in a row as the layers of one, by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from models import tiny

from eat_lightning.infer.recorded import Recorded
from eat_lightning.methods.exit.never import Never
from experiments.plane.__main__ import HERE, main
from experiments.plane.kept import KeptModel, crossed, first_half, of_rows
from experiments.plane.models import RunModel
from experiments.plane.rows import Plane, row_of
from experiments.plane.show import report
from experiments.plane.systems import Chain, Joined, Judged, Part, System, alone, unanimous

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


def kept(name: str, odds: list[float], flops: dict[int, float]) -> KeptModel:
    said = model(name, dict.fromkeys(flops, odds)).dev
    return KeptModel(name, "sst2", name, said, said, "same", flops, mean_tokens=8.0)


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
