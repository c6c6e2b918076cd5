"""What a report knows of its runs: rows over seeds, examples, curves, and what is wrong."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from helpers.studies import EAT, keep, make_recorded, make_row

from eat_lightning.report.baselines import own_static_of
from eat_lightning.report.study import open_study
from eat_lightning.runs.row import write


def two_seeds(folder: Path) -> Path:
    for seed, accuracy in ((1, 0.5), (2, 1.0)):
        name = f"model=eat,seed={seed}"
        fields = {"model": "eat", "seed": seed, "run": name, "examples": "e.parquet"}
        right = [1, 1, 0, 0] if seed == 1 else [1, 1, 1, 1]
        rows = [
            make_row(**fields | EAT, accuracy=accuracy, num_examples=4, depth=4.0),
            make_row(**fields, accuracy=accuracy, num_examples=4, baseline="own static"),
        ]
        keep(folder / name, rows, make_recorded([right, right], [4, 6]))
    return folder


def test_seeds_of_one_setting_are_one_point(tmp_path: Path):
    study = open_study([str(two_seeds(tmp_path))])
    static, eat = study.points(task="sst2")
    assert (eat.seeds, eat.mean("score"), eat.mean("depth")) == ([1, 2], 0.75, 4.0)
    assert (eat.setting, static.setting, eat.is_static) == ("tau 0.9", "own static", False)
    assert eat.slots == "dense, norm_topk ratio 0.3 layers 2/4"
    assert study.warnings == []


def test_examples_follow_the_rule_of_their_row(tmp_path: Path):
    eat = open_study([str(two_seeds(tmp_path))]).points(baseline="")[0]
    first = eat.members[0].outcome
    assert first is not None
    # Right and sure (0.95) leaves at 4 under tau 0.9; wrong and unsure goes on to 6.
    assert first.depth_B.tolist() == [4, 4, 6, 6]
    correct_SB = eat.correct_SB()
    assert correct_SB is not None
    assert correct_SB.tolist() == [[True, True, False, False], [True] * 4]


def test_own_static_is_found_seed_by_seed(tmp_path: Path):
    study = open_study([str(two_seeds(tmp_path))])
    static, eat = study.points()
    found = own_static_of(study, eat)
    assert found is not None
    assert [m.row for m in found.members] == [m.row for m in static.members]
    assert own_static_of(study, static) is static


def test_the_newest_row_counts_and_a_timed_one_before_it(tmp_path: Path):
    old = make_row(commit="a", latency_ms=9.0, created="2026-01-01T00:00:00+00:00")
    new = make_row(commit="b", latency_ms=8.0, created="2026-01-02T00:00:00+00:00")
    untimed = make_row(commit="c", created="2026-01-03T00:00:00+00:00")
    keep(tmp_path / "r", [old, new, untimed])
    study = open_study([str(tmp_path)])
    assert [m.row for m in study.measured] == [new]
    assert study.warnings[0].startswith(f"{tmp_path / 'r' / 'rows.jsonl'}: 1 older timed rows")


def test_a_damaged_line_is_named_and_the_rest_kept(tmp_path: Path):
    folder = keep(tmp_path / "r", [make_row()])
    path = folder / "rows.jsonl"
    whole = json.loads(path.read_text())
    bad = [json.dumps(whole | {"accuracy": float("nan")}), '{"cut": ', json.dumps({"x": 1})]
    path.write_text("\n".join([path.read_text().strip(), *bad]))
    study = open_study([str(tmp_path)])
    assert len(study.measured) == 1
    for line, part in (
        (2, "accuracy must be a finite number, got nan"),
        (3, ""),
        (4, "x is not an option"),
    ):
        reported = [w for w in study.warnings if f"{path}, line {line}: not a row" in w]
        assert len(reported) == 1
        assert part in reported[0]


def test_a_run_cut_short_is_named(tmp_path: Path):
    keep(tmp_path / "whole", [make_row()])
    keep(tmp_path / "cut", [], finished=False)
    keep(tmp_path / "unmeasured", [])
    warnings = open_study([str(tmp_path)]).warnings
    assert f"{tmp_path / 'cut'}: no rows (not finished: its command resumes it)" in (warnings)
    assert f"{tmp_path / 'unmeasured'}: no rows (measure it)" in warnings


def test_examples_that_are_gone_or_damaged_are_a_warning(tmp_path: Path):
    fields = {"num_examples": 2, "examples": "e.parquet"}
    keep(tmp_path / "a", [make_row(run="a", **fields)], make_recorded([[1, 0]], [6]))
    keep(tmp_path / "b", [make_row(run="b", **fields)], make_recorded([[1, 0]], [6]))
    (tmp_path / "a" / "e.parquet").unlink()
    (tmp_path / "b" / "e.parquet").write_bytes(b"PAR1 no")
    study = open_study([str(tmp_path)])
    assert [m.correct_B for m in study.measured] == [None, None]
    assert any(f"{tmp_path / 'a' / 'e.parquet'}: is not there" in w for w in study.warnings)
    assert any(f"{tmp_path / 'b' / 'e.parquet'}: no examples" in w for w in study.warnings)


def test_kept_rows_a_pattern_and_the_same_folder_twice(tmp_path: Path):
    write(tmp_path / "kept.jsonl", [make_row()])
    keep(tmp_path / "study" / "r", [make_row(run="other")])
    paths = [str(tmp_path / "kept.jsonl"), str(tmp_path / "stud*"), str(tmp_path / "study")]
    study = open_study(paths, title="mine")
    assert ([m.row.run for m in study.measured], study.title) == (["r", "other"], "mine")
    assert [run.name for run in study.runs] == ["r"]


def test_rows_of_an_edited_method_are_warned_of(tmp_path: Path):
    for seed, digest in ((1, "aaa"), (2, "bbb")):
        name = f"model=eat,seed={seed}"
        fields = {"model": "eat", "seed": seed, "run": name, "sources": {"mine": digest}}
        keep(tmp_path / name, [make_row(**fields | EAT)], None)
    warned = "rows with mine are of 2 versions of its file: measure them again before comparing"
    assert warned in open_study([str(tmp_path)]).warnings


def test_a_setting_of_two_rules_is_called_by_its_rule(tmp_path: Path):
    fields = {"model": "eat", "seed": 1, "run": "model=eat,seed=1", "budget": 0.5}
    kinds = ("confidence", "entropy")
    rows = [make_row(**fields | EAT | {"exit": {"kind": kind}}) for kind in kinds]
    write(tmp_path / "rows.jsonl", rows)
    points = open_study([str(tmp_path)]).points(task="sst2")
    assert {p.setting for p in points} == {"budget 0.5"}
    assert {p.title for p in points} == {"confidence, budget 0.5", "entropy, budget 0.5"}


def test_an_edited_rule_is_not_replayed_on_rows_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module, code = tmp_path / "my_rule.py", "from eat_lightning.methods.exit.never import Never\n"
    module.write_text(f"{code}\nclass Mine(Never): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EAT_IMPORT", "my_rule")
    fields = {"exit": {"kind": "my_rule.Mine"}, "examples": "e.parquet", "num_examples": 4}
    digest = sha256(module.read_bytes()).hexdigest()[:12]
    rows = [make_row(**fields | {"sources": {"my_rule": digest}})]
    keep(tmp_path / "run", rows, make_recorded([[1, 1, 0, 0], [1, 1, 1, 0]], [4, 6]))
    (point,) = open_study([str(tmp_path / "run")]).points()
    assert point.members[0].outcome is not None
    module.write_text(f"{code}\nclass Mine(Never): ...  # edited\n")
    study = open_study([str(tmp_path / "run")])
    lacking = "my_rule.Mine was edited since it was measured: measure again"
    (point,) = study.points()
    assert (point.members[0].outcome, point.members[0].lacking) == (None, lacking)
    assert lacking in study.warnings
