"""Sweeps by submitit: as processes of this machine, and nightly as a job array on a real Slurm.

tests/beyond/slurm_node.sh start    (a node on this machine)
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.training import TINY

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="no hydra-submitit-launcher")
SLURM = ["hydra.launcher.mem_gb=2", "hydra.launcher.cpus_per_task=1", "hydra/launcher=slurm"]
LOCAL = [
    "hydra/launcher=submitit_local",
    "hydra.launcher.submitit_folder=${hydra.sweep.dir}/.slurm/%j",
]
LONG = ["trainer.max_epochs=200", "trainer.max_steps=200", "checkpoint_every=20"]


@pytest.fixture
def slurm() -> None:
    if shutil.which("sinfo") is None or shutil.which("sbatch") is None:
        pytest.skip("no Slurm: tests/beyond/slurm_node.sh start")
    states = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True).stdout
    if not {"idle", "mix", "comp", "alloc"} & {*states.split()}:
        pytest.skip("no Slurm node: tests/beyond/slurm_node.sh start")


def sweep(to: Path, *overrides: str, launcher: list[str] = SLURM) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eat_lightning.train", "-m", *launcher, *TINY]
    env = os.environ | {"EAT_OUTPUTS": str(to)}
    with open(to / "sweep.log", "a") as log:
        return subprocess.Popen(
            [*command, "study=swept", *overrides], env=env, stdout=log, stderr=log
        )


def runs_of(to: Path) -> list[Path]:
    return sorted(path.parent for path in (to / "swept").glob("*/config.yaml"))


def waited_for(found, seconds: float = 90):
    """What `found()` gives when it is first true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    raise TimeoutError(found)


def logs_of(to: Path) -> str:
    return "\n".join(path.read_text() for path in (to / "swept" / ".slurm").rglob("*_log.out"))


def saved_at(run: Path) -> int:
    return (run / "model" / "model.safetensors").stat().st_mtime_ns


@pytest.mark.slow
def test_a_sweep_as_processes_skips_finished_runs(tmp_path: Path):
    assert sweep(tmp_path, "seed=1,2", launcher=LOCAL).wait(300) == 0
    runs = runs_of(tmp_path)
    assert [json.loads((run / "done.json").read_text())["steps"] for run in runs] == [9, 9]
    saved = [saved_at(run) for run in runs]
    assert sweep(tmp_path, "seed=1,2", launcher=LOCAL).wait(300) == 0
    assert [saved_at(run) for run in runs] == saved
    assert logs_of(tmp_path).count("is already trained (delete it to train it again)") == 2


@pytest.mark.nightly
@pytest.mark.usefixtures("slurm")
def test_a_sweep_is_one_job_array(tmp_path: Path):
    first = sweep(tmp_path, "seed=1,2")
    assert first.wait(300) == 0, (tmp_path / "sweep.log").read_text()
    assert all((run / "done.json").exists() for run in runs_of(tmp_path))
    jobs = {path.name for path in (tmp_path / "swept" / ".slurm").iterdir() if "_" in path.name}
    arrays = {job.partition("_")[0] for job in jobs if re.fullmatch(r"\d+_\d+", job)}
    assert len(arrays) == 1


def half_done(to: Path) -> Path | None:
    return next((run for run in runs_of(to) if (run / "last.ckpt").exists()), None)


@pytest.mark.nightly
@pytest.mark.usefixtures("slurm")
def test_a_killed_job_goes_on_from_its_last_checkpoint(tmp_path: Path):
    first = sweep(tmp_path, *LONG)
    run = waited_for(lambda: half_done(tmp_path))
    subprocess.run(["scancel", "--signal=KILL", "--full", *jobs_now()], check=True)
    waited_for(lambda: not jobs_now())
    first.kill()  # without accounting, submitit waits ten minutes before it gives a job up
    first.wait()
    assert not (run / "done.json").exists()
    assert sweep(tmp_path, *LONG).wait(240) == 0
    assert json.loads((run / "done.json").read_text())["steps"] == 200
    assert "was not finished: resuming from last.ckpt" in logs_of(tmp_path)


@pytest.mark.nightly
@pytest.mark.usefixtures("slurm")
def test_a_job_out_of_time_is_requeued_and_goes_on(tmp_path: Path):
    first = sweep(tmp_path, *LONG)
    run = waited_for(lambda: half_done(tmp_path))
    (job,) = jobs_now()
    subprocess.run(["scancel", "--signal=USR2", job], check=True)  # Slurm's warning before the end
    assert first.wait(300) == 0, (tmp_path / "sweep.log").read_text()
    assert json.loads((run / "done.json").read_text())["steps"] == 200


def jobs_now() -> list[str]:
    listed = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True)
    return listed.stdout.split()
