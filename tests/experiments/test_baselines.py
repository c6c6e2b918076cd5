"""Settings beside their baselines: differences on the same examples, ratios within a session."""

from pathlib import Path

import pytest
from frontiers import eat_run, static_run
from studies import EAT, keep, make_row

from eat_lightning.report.baselines import Entry
from eat_lightning.report.speed import batch_ms, faster, single_ms, sorted_ms
from eat_lightning.report.study import Study, open_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    static_run(tmp_path)
    eat_run(tmp_path)
    return open_study([str(tmp_path)])


def eat(study: Study) -> Entry:
    (point,) = (p for p in study.points(baseline="") if not p.is_static)
    return Entry(study, point)


def test_a_static_model_of_another_body_is_not_the_baseline(tmp_path: Path):
    static_run(tmp_path, encoder="another")
    eat_run(tmp_path)
    study = open_study([str(tmp_path)])
    assert eat(study).trained is None


def test_the_static_model_is_that_of_the_seed(tmp_path: Path):
    for seed in (1, 2):
        keep(tmp_path / f"s{seed}", [make_row(run=f"s{seed}", seed=seed)])
    leaves = make_row(**EAT, model="eat", run="adaptive", seed=2, encoder="s2")
    keep(tmp_path / "adaptive", [leaves])
    found = eat(open_study([str(tmp_path)])).trained
    assert found is not None
    assert found.seeds == [2]


def test_ratios_of_one_session(study: Study):
    entry = eat(study)
    assert entry.trained is not None
    assert entry.padded is not None
    found = faster(entry.point, entry.trained, single_ms)
    assert found is not None
    assert found.value == 1.6
    assert found.low == pytest.approx(1.6 * 0.98 / 1.02)
    padded = [faster(entry.point, entry.padded, t) for t in (single_ms, batch_ms, sorted_ms)]
    assert [f.value for f in padded if f] == pytest.approx([2.4, 4.0, 2.1])


@pytest.mark.parametrize("session", ["another", ""])
def test_times_of_two_sessions_are_not_divided(tmp_path: Path, session: str):
    static_run(tmp_path, session=session)
    eat_run(tmp_path)
    entry = eat(open_study([str(tmp_path)]))
    assert entry.trained is not None
    assert faster(entry.point, entry.trained, single_ms) is None


def test_a_model_with_exits_is_no_trained_static(tmp_path: Path):
    """Its row with nobody leaving is dense, whole and at full depth too."""
    heads = {"ece_after": {"3": 0.1, "6": 0.1}}
    never = make_row(model="eat", run="adaptive", **heads)
    leaves = make_row(**(EAT | heads), model="eat", run="adaptive")
    keep(tmp_path / "adaptive", [never, leaves])
    study = open_study([str(tmp_path)])
    assert eat(study).trained is None
    keep(tmp_path / "static", [make_row(run="static", ece_after={"6": 0.1})])
    study = open_study([str(tmp_path)])
    found = eat(study).trained
    assert found is not None
    assert found.row.run == "static"
