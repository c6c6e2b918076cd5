"""Settings beside their baselines: differences on the same examples, ratios within a session."""

from dataclasses import replace
from pathlib import Path

import pytest
from frontiers import eat_run, static_run
from studies import EAT, keep, make_row

from eat_lightning.report import cells
from eat_lightning.report.compare import Difference, accuracy_interval, difference
from eat_lightning.report.provenance import Provenance
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import NO_EXAMPLES, Study, open_study
from experiments.baselines import Entry
from experiments.frontier.figure import timing_of
from experiments.speed import batch_ms, faster, single_ms, sorted_ms, speed_up


@pytest.fixture
def study(tmp_path: Path) -> Study:
    static_run(tmp_path)
    eat_run(tmp_path)
    return open_study([str(tmp_path)])


def eat(study: Study) -> Entry:
    (point,) = (p for p in study.points(baseline="") if not p.is_static)
    return Entry(study, point)


def test_differences_are_on_the_same_examples(study: Study):
    entry = eat(study)
    own, trained = entry.to_own, entry.to_trained
    assert own is not None
    assert trained is not None
    assert (own.points, own.p) == (12.5, (1.0,))  # right alone on one
    assert (trained.points, trained.p) == (50.0, (0.125,))  # on four: 2 x 0.5^4
    assert own.interval is not None
    assert own.interval.low == 0 < own.interval.high


def test_what_it_is_held_against(study: Study):
    entry = eat(study)
    assert entry.own is not None
    assert entry.trained is not None
    assert entry.padded is not None
    assert entry.own.setting == "own static"
    assert (entry.trained.row.model, entry.trained.setting) == ("minilm", "static")
    assert entry.padded.row.kernels == "hf_eager"
    static = Entry(study, entry.trained)
    assert (static.own, static.trained, static.padded) == (None, None, None)


def test_a_static_model_of_another_body_is_not_the_baseline(tmp_path: Path):
    static_run(tmp_path, encoder="another")
    eat_run(tmp_path)
    study = open_study([str(tmp_path)])
    assert eat(study).trained is None


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


def test_speed_up_over_seeds_has_the_extremes_of_both(tmp_path: Path):
    eat_run(tmp_path)
    eat_run(tmp_path, seed=2, speed_up=3.0, speed_up_low=2.5, speed_up_high=3.5)
    point = eat(open_study([str(tmp_path)])).point
    assert speed_up(point) == Interval(2.5, 1.9, 3.5)
    assert speed_up(point, "batch_") == Interval(2.0, 1.9, 2.1)


def test_without_examples_there_is_a_difference_but_no_interval(study: Study):
    entry = eat(study)
    assert entry.own is not None
    bare = [replace(m, row=replace(m.row, examples="")) for m in entry.point.members]
    point = replace(entry.point, members=bare)
    assert difference(point, entry.own) == Difference(12.5, None)
    assert cells.points(Difference(12.5, None)).flags == (NO_EXAMPLES,)
    assert accuracy_interval(point).value == 1.0  # Wilson's, of 8 of 8
    assert accuracy_interval(point).low == pytest.approx(0.6756, abs=1e-4)


def test_source_names_the_command(study: Study):
    source = Provenance.of(eat(study).point)
    assert source.runs == ("s/eat1",)
    assert source.command == "python -m eat_lightning.measure run=outputs/s/eat1 prepack=false"
    assert source.commits == ("abc",)


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


def test_ours_are_held_against_their_own_form_and_hugging_face_against_what_ran_beside(
    tmp_path: Path,
):
    """Plain and prepacked rows of one run, each form in a session; theirs in the later one."""
    rows = []
    for form, session, ms in (("plain", "one", 4.0), ("prepacked", "two", 2.0)):
        how = {"form": form, "session": session, "threads": 1}
        rows.append(make_row(**how, **EAT, run="r", model="eat", latency_ms=ms))
        rows.append(make_row(**how, run="r", model="eat", baseline="own static", latency_ms=ms + 1))
    theirs = {"baseline": "hugging face", "kernels": "hf_eager", "session": "two", "threads": 1}
    rows.append(make_row(**theirs, run="r", model="eat", latency_ms=8.0))
    keep(tmp_path / "r", rows)
    study = open_study([str(tmp_path)])
    entries = [Entry(study, point) for point in study.points()]
    assert len(entries) == 5  # no two are seeds of one setting
    for entry in entries:
        if entry.own is not None:
            assert entry.own.row.session == entry.point.row.session
        if entry.adaptive:
            assert entry.padded is not None
            ratio = faster(entry.point, entry.padded, single_ms)
            assert (ratio is None) == (entry.point.row.form == "plain")  # of another session
    ways = {
        entry.point.row.form: timing_of(entry, entries)[-1] for entry in entries if entry.adaptive
    }
    assert ways == {"plain": "plain", "prepacked": "prepacked"}
    (hugging_face,) = (e for e in entries if e.point.row.baseline == "hugging face")
    assert timing_of(hugging_face, entries)[-1] == "prepacked"


def test_the_best_student_is_smaller_and_trained_for_itself(tmp_path: Path):
    eat_run(tmp_path)
    static_run(tmp_path)
    static_run(tmp_path, seed=2, encoder="small", flops=99.0)  # own static: 60 / 0.6
    study = open_study([str(tmp_path)])
    entry = eat(study)
    assert entry.student is not None
    assert entry.student.row.encoder == "small"
    assert entry.to_student is not None
    assert entry.to_student.points == 50.0
