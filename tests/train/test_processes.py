"""Training on several processes: settings that are refused, equal losses, resume, and a death."""

import csv
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from helpers import commands
from helpers.commands import Command
from helpers.finished import refused
from helpers.training import TINY, command, config_of
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from eat_lightning.runs.run import Run, folder_for
from eat_lightning.train.plan import planned
from eat_lightning.train.processes import (
    Ranks,
    goes_on,
    how_it_died,
    process_faults,
    started_outside,
)
from eat_lightning.train.trainer import strategy_for

# Without dropout, whose draws belong to a process.
SAME = [
    *TINY,
    *("encoder.dropout=0", "encoder.attention_dropout=0", "trainer.precision=32-true"),
    *("trainer.log_every_n_steps=1", "data.batch_size=16"),
]
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing but a person had started the tests."""
    for name in ("LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("trainer.devices=0", "trainer.devices must be 1 or more, auto, or a list of GPUs, got 0"),
        ("trainer=ddp trainer.devices=1", "trainer.strategy=ddp is for two processes or more, got"),
        ("trainer=ddp data.batch_size=1", "data.batch_size counts all processes' examples: must"),
        ("trainer=ddp +trainer.num_nodes=2", "trainer.num_nodes=2: start the command on each"),
        ("trainer.accelerator=abacus", "trainer: You selected an invalid accelerator name"),
    ],
)
def test_what_cannot_be_is_one_line(given: str, said: str):
    assert refused(planned, config_of("data=toy", "encoder=tiny", *given.split())).startswith(said)


def test_processes_that_torchrun_or_srun_started(monkeypatch: pytest.MonkeyPatch):
    """Each of them would else train the whole run for itself."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    (said,) = process_faults({"devices": 1})
    assert "must be the 4 processes that torchrun or srun started" in said
    assert process_faults({"devices": 2, "num_nodes": 2, "strategy": "ddp"}) == []
    assert strategy_for({"devices": 4, "strategy": "ddp"}, True)._start_method == "popen"
    monkeypatch.delenv("LOCAL_RANK")
    assert started_outside() == 1
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert started_outside() == 2


def test_strategies_that_would_start_the_command_again_are_refused():
    several = {"devices": 2, "accelerator": "cpu"}
    assert process_faults(several | {"strategy": "ddp"}) == []
    assert process_faults(several | {"strategy": "auto"}) == []
    (line,) = process_faults(several | {"strategy": "deepspeed"})
    assert line == "trainer.strategy must be auto or ddp, got deepspeed"


@pytest.mark.parametrize("all_train", [True, False])
@pytest.mark.parametrize("strategy", ["ddp", "auto"])
def test_ddp_looks_for_parameters_without_a_gradient_where_there_are_some(
    strategy: str, all_train: bool
):
    made = strategy_for({"strategy": strategy, "devices": 2}, all_train)
    assert isinstance(made, Ranks)
    assert made._ddp_kwargs["find_unused_parameters"] is not all_train
    assert made._start_method == "spawn"


def test_whoever_was_killed_is_named(tmp_path: Path):
    """And not the other, which lost it: either may be seen to end first."""
    lost = ProcessRaisedException("RuntimeError: [gloo] Connection closed by peer", 0, 71)
    killed = how_it_died(lost, [-signal.SIGTERM, -signal.SIGKILL])
    assert killed == "process 1 of 2 was killed (SIGKILL, as for lack of memory)"
    ended = ProcessExitedException("process 1 terminated with signal SIGTERM", 1, 72, -15)
    assert (
        how_it_died(ended, [-15, -15]) == "process 1 of 2 was ended or lost contact with the others"
    )
    wrong = ProcessRaisedException("...eat_lightning.errors.ConfigError: no text\n", 0, 71)
    assert how_it_died(wrong, [1, -15]) == "no text"
    assert how_it_died(ProcessRaisedException("KeyError: 'x'", 0, 71), [1, -15]) is None
    assert goes_on(tmp_path / "last.ckpt").startswith("; nothing was saved yet")


def finished(*overrides: str, launcher: tuple[str, ...] = ()) -> Run:
    """The run of a command that must end well."""
    commands.finished(*launcher, "eat_lightning.train", *overrides)
    return Run.open(folder_of(*overrides))


def folder_of(*overrides: str) -> Path:
    return folder_for(config_of(*overrides), [*overrides])


def logged(run: Run, name: str) -> dict[int, float]:
    """A number by step, from all attempts; what a killed one had not yet written is not there."""
    found: dict[int, float] = {}
    for path in sorted(run.folder.glob("csv*/metrics.csv")):
        with path.open() as file:
            found |= {int(r["step"]): float(r[name]) for r in csv.DictReader(file) if r.get(name)}
    return found


def assert_same_weights(one: Run, two: Run) -> None:
    first, second = (load_file(run.folder / "model" / "model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], atol=1e-3), name


def assert_written_once(run: Run) -> None:
    assert [path.name for path in run.folder.glob("csv*")] == ["csv"]
    assert len((run.folder / "rows.jsonl").read_text().splitlines()) == 1
    assert not list(run.folder.rglob("*.part"))


@pytest.mark.slow
def test_two_processes_train_to_the_same_losses_as_one(outputs: Path):
    """160 examples by a budget of tokens, so that some batches have one example."""
    same = [*SAME, "reduction=none", "data.tokens_per_batch=40", "data.batch_size=8"]
    one = finished(*same, "study=one")
    assert [*logged(one, "train/loss")] == [*range(9)]
    two = finished(*same, *TWO, "study=two")
    for name in ("train/loss", "train/retention", "select/score"):
        assert logged(two, name) == pytest.approx(logged(one, name), abs=1e-5)
    assert_same_weights(one, two)
    assert_written_once(two)


@pytest.mark.slow
def test_with_reductions_only_rounding_parts_two_processes_from_one(outputs: Path):
    """Which tokens stay follows from an example alone; but products of other sizes round
    otherwise, and where two scores all but tie another token may stay. In fp64 none do."""
    exact = [*SAME, "model=eat_pruned", "schedule=constant", "trainer.precision=64-true"]
    one = finished(*exact, "study=exact")
    two = finished(*exact, *TWO, "study=exact_two")
    assert max(logged(one, "train/retention").values()) < 1
    for name in ("train/retention", "train/loss"):
        assert logged(two, name) == pytest.approx(logged(one, name), abs=1e-6)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_another_number_of_processes(outputs: Path):
    """1 -> 2, of which one is killed -> 2 -> 1, each by SIGKILL behind a checkpoint. A killed rank
    ends its run in a line."""
    long = [*SAME, "reduction=none", "trainer.max_steps=40", "checkpoint_every=2"]
    given = [*long, "study=moved"]
    whole, last = finished(*long, "study=undisturbed"), folder_of(*given) / "last.ckpt"
    kill_behind_a_checkpoint(command(*given), last)
    said = kill_behind_a_checkpoint(command(*given, *TWO, forks=False), last, rank=1)
    line = said.splitlines()[-1]  # a library beneath Python may say something of its own
    assert "Traceback" not in said
    assert line.startswith("error: process 1 of 2 was killed (SIGKILL, as for lack of memory); ")
    step = torch.load(last, weights_only=True)["global_step"]
    assert f"the same command resumes from step {step} " in line
    kill_behind_a_checkpoint(command(*given, *TWO, forks=False), last)
    moved = finished(*given)
    found, wanted = logged(moved, "train/loss"), logged(whole, "train/loss")
    assert max(found) == max(wanted)
    assert found == pytest.approx({step: wanted[step] for step in found}, abs=1e-4)
    assert_same_weights(whole, moved)


def kill_behind_a_checkpoint(process: Command, last: Path, rank: int | None = None) -> str:
    """rank: it alone is killed. Returns what the command says then."""
    before, deadline = stamp(last), time.monotonic() + 900
    while stamp(last) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid if rank is None else ranks_of(process)[rank], signal.SIGKILL)
    _, said = process.communicate()
    assert stamp(last) != before, said
    assert ranks_of(process) == []
    return said


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def ranks_of(process: Command) -> list[int]:
    """The processes that a command started for its ranks, in their order."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process.pid and b"spawn_main" in words:
            found.append(int(path.name))
    return sorted(found)


@pytest.mark.slow
def test_a_sweep_trains_each_job_on_two_processes_with_its_own_seed_and_logs_it_once(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    given = [*SAME, *TWO, "reduction=none", "logger=wandb", "study=several"]
    # Spawned: a rank finds the run of W&B by what the environment says.
    commands.finished("eat_lightning.train", "-m", *given, "seed=1,2", forks=False)
    runs = [Run.open(folder_of(*given, seed)) for seed in ("seed=1", "seed=2")]
    for run in runs:
        assert run.done["steps"] == 9
        assert len(list(run.folder.glob("wandb/offline-run-*"))) == 1
        assert_written_once(run)
    one, two = (load_file(run.folder / "model" / "model.safetensors") for run in runs)
    assert any(not torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_torchrun_starts_the_ranks_which_train_what_a_schedule_freezes_in_turn(outputs: Path):
    launcher = ("torch.distributed.run", "--nproc_per_node=2", "-m")
    run = finished(*SAME, "schedule=two_stage", *TWO, "study=torchrun", launcher=launcher)
    assert run.done["steps"] == 9
    assert_written_once(run)
