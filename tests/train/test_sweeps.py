"""What a run is called, and what a sweep trains, measures and returns."""

import re
from pathlib import Path

import pytest
import yaml
from helpers.commands import finished
from helpers.training import TINY, command, config_of, trained

from eat_lightning.runs.row import Row, read
from eat_lightning.runs.run import Run, folder_for, open_runs
from eat_lightning.train.plan import without_foreign_keys


def name_of(*overrides: str) -> str:
    """The name of a run's folder, for a config that is composed of what Hydra can."""
    return folder_for(config_of(*overrides), list(overrides)).name


def test_a_name_is_short_and_needs_no_quotes():
    assert name_of("model=eat", "task=mnli", "seed=3") == "mnli-eat-s3"
    assert (
        name_of("model=eat_pruned", "reduction.ratio=0.2")
        == "sst2-eat_pruned-s1-reduction.ratio-0.2"
    )
    assert name_of("model=eat", "head.layers=[2,4]") == "sst2-eat-s1-head.layers-2-4"
    long = name_of(*TINY, "model=eat_pruned", "reduction.layers=[2,4]", "optimizer.lr=1e-4")
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", long)
    assert long != name_of(*TINY, "model=eat_pruned", "reduction.layers=[2,4]", "optimizer.lr=2e-4")


def test_a_name_is_the_same_on_every_machine():
    here, there = (name_of(f"encoder.pretrained={at}/mini/model") for at in ("/a/b", "/c/d.e"))
    assert here == there == "sst2-eat-s1-encoder.pretrained-mini"
    assert name_of("teacher=/x/sst2-bert-s1") == "sst2-eat-s1-teacher-sst2-bert-s1"
    assert name_of("data.dir=/data", "threads=1", "study=x", "measure.enabled=false") == (
        "sst2-eat-s1"
    )


@pytest.mark.parametrize(
    ("given", "of_a_sweep"),
    [
        ("optimizer.lr=1e-3", "optimizer.lr=0.001"),
        ("++reduction.ratio=[1e-1, 0.2]", "++reduction.ratio=[0.1,0.2]"),
        ("data.batch_size=16", "data.batch_size=16"),
        ("trainer.deterministic=True", "trainer.deterministic=true"),
    ],
)
def test_a_name_is_that_of_the_value_however_it_is_written(given: str, of_a_sweep: str):
    config = config_of("model=eat_pruned")
    assert folder_for(config, [given]) == folder_for(config, [of_a_sweep])
    assert folder_for(config, [of_a_sweep]).name.endswith(
        re.sub(r"[^\w.]+", "-", of_a_sweep.lstrip("+")).strip("-")
    )


def test_an_exit_rule_is_in_the_name_only_where_it_moves_heads():
    assert name_of("model=eat", "exit.tau=0.8") == "sst2-eat-s1"
    assert name_of("model=eat", "exit=patience", "exit.patience=2") == "sst2-eat-s1"
    with_heads, without = (
        name_of("experiment=ablation", f"exit={rule}", "model=eat_paper")
        for rule in ("confidence_4", "never")
    )
    assert (with_heads, without) == ("sst2-eat_paper-s1", "sst2-eat_paper-s1-head.layers")


def rows_of(run: Run) -> list[Row]:
    return read(run.folder / "rows.jsonl")


def test_a_tau_is_one_more_row_and_trains_nothing(run: Run, capsys: pytest.CaptureFixture[str]):
    weights = run.folder / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = trained("study=line", "model=eat_pruned", "exit.tau=0.55")
    assert (again.folder, weights.stat().st_mtime_ns) == (run.folder, before)
    found = {
        row.exit.arguments["tau"]: row for row in rows_of(run) if row.exit.kind == "confidence"
    }
    assert {0.9, 0.55} <= found.keys()
    assert found[0.55].depth <= found[0.9].depth
    assert "tau 0.55" in capsys.readouterr().out
    count = len(rows_of(run))
    trained("study=line", "model=eat_pruned", "exit=patience", "exit.patience=1")
    assert [row.exit.kind for row in rows_of(run)][count:] == ["patience"]


def test_a_run_is_timed_beside_its_own_static(run: Run):
    trained("study=line", "model=eat_pruned", "measure.enabled=true", "measure.examples=4")
    rows = {row.baseline: row for row in rows_of(run) if row.timed_examples}
    assert {*rows} == {"", "fixed depth", "own static"}
    own, static = rows[""], rows["own static"]
    assert own.exit.kind == "confidence"
    assert own.timed_examples == static.timed_examples == 4
    assert own.latency_ms is not None
    assert static.latency_ms is not None
    assert own.speed_up == pytest.approx(static.latency_ms / own.latency_ms)


def test_what_a_model_lacks_is_left_out_of_a_sweep(capsys: pytest.CaptureFixture[str]):
    given = [*TINY, "model=minilm", "encoder=tiny", "++exit.tau=0.8", "++head.pool=cls"]
    config, kept = without_foreign_keys(config_of(*given), given)
    assert config["exit"] == {"_target_": "eat_lightning.methods.exit.never.Never"}
    assert kept == [o for o in given if o != "++exit.tau=0.8"]
    assert (
        capsys.readouterr().out == "exit.tau=0.8 is left out for model=minilm: its exit is Never\n"
    )


@pytest.mark.slow
def test_a_sweep_over_taus_trains_each_model_once(outputs: Path):
    """The command of the README: a model without exits takes part and leaves tau out."""
    small = [*TINY, "trainer.max_steps=3", "study=promise"]
    small += ["measure.enabled=true", "measure.examples=2"]
    out, _ = finished("eat_lightning.train", "-m", *small, "model=minilm,eat", "exit.tau=0.8,0.9")
    runs = open_runs(str(outputs / "promise"))
    assert [found.config["model"] for found in runs] == ["eat", "minilm"]
    for found in runs:
        rows = [row for row in rows_of(found) if not row.baseline]
        taus = [row.exit.arguments.get("tau") for row in rows]
        assert taus == ([0.8, 0.9] if found.config["model"] == "eat" else [None])
        assert all(row.latency_ms and row.accuracy is not None and row.depth for row in rows)
    assert out.count("exit.tau=0.8 is left out for model=minilm") == 1


@pytest.mark.slow
def test_jobs_that_share_a_run_take_turns(outputs: Path):
    jobs = [command(*TINY, "study=twins", f"exit.tau={tau}") for tau in (0.6, 0.9)]
    for job in jobs:
        job.communicate()
    assert [job.returncode for job in jobs] == [0, 0]
    (found,) = open_runs(str(outputs / "twins"))
    assert sorted(row.exit.arguments["tau"] for row in rows_of(found)) == [0.6, 0.9]


@pytest.mark.slow
def test_a_search_is_told_the_score_on_the_selection_split(outputs: Path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="no hydra-optuna-sweeper")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"]
    search += ["hydra.sweeper.direction=maximize", "optimizer.lr=interval(1e-4,1e-2)"]
    finished("eat_lightning.train", "-m", *TINY, *search, "study=search")
    runs = open_runs(str(outputs / "search"))
    assert len(runs) == 3
    best = yaml.safe_load((outputs / "search" / "optimization_results.yaml").read_text())
    assert best["best_value"] == max(found.done["selection_score"] for found in runs)
