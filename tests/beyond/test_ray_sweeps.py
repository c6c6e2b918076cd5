"""Sweeps on a real Ray cluster of one node: side by side, killed workers, nothing trained twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import ray_head
from training import TINY

from eat_lightning.runs.run import open_runs

pytest.importorskip("ray", reason="no Ray: pip install 'eat_lightning[ray]'")
pytestmark = pytest.mark.nightly
MINUTES = 900  # seconds for a busy machine to do what takes it ten
LONG = ["trainer.max_epochs=200", "trainer.max_steps=200", "checkpoint_every=20"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with ray_head() as found:
        yield found


@pytest.fixture
def sweep(cluster: dict[str, str], tmp_path: Path):
    """Begins a sweep, whose lines go to sweep.log."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*overrides: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "eat_lightning.train", "-m", "hydra/launcher=ray", *TINY]
        env = os.environ | cluster | {"EAT_OUTPUTS": str(tmp_path)}
        with open(tmp_path / "sweep.log", "a") as log:
            begun.append(
                subprocess.Popen(
                    [*command, "study=swept", *overrides], env=env, stdout=log, stderr=log
                )
            )
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()
        each.wait()


def log_of(to: Path) -> str:
    return (to / "sweep.log").read_text()


def waited_for(found, seconds: float = MINUTES):
    """What `found()` gives when it is first true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise TimeoutError(found)


def half_done(to: Path) -> Path | None:
    return next((path.parent for path in to.glob("swept/*/last.ckpt")), None)


def worker_of(run: Path) -> int:
    """The process that holds the run's lock."""
    inode = (run / ".lock").stat().st_ino
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next(int(each[4]) for each in held if each[5].endswith(f":{inode}"))


def test_jobs_run_and_finished_ones_are_skipped(tmp_path: Path, sweep):
    assert sweep("seed=1,2").wait(MINUTES) == 0, log_of(tmp_path)
    runs = open_runs(str(tmp_path / "swept"))
    assert [run.done["steps"] for run in runs] == [9, 9]
    assert all((run.folder / "rows.jsonl").exists() for run in runs)
    weights = [(run.folder / "model" / "model.safetensors").stat().st_mtime_ns for run in runs]
    assert sweep("seed=1,2").wait(MINUTES) == 0
    again = [(run.folder / "model" / "model.safetensors").stat().st_mtime_ns for run in runs]
    assert again == weights
    assert log_of(tmp_path).count("is finished: skipped") == 2


def test_a_killed_worker_goes_on_from_its_last_checkpoint(tmp_path: Path, sweep):
    """Ray begins its job again; the command is told nothing, and needs nobody."""
    first = sweep(*LONG)
    run = waited_for(lambda: half_done(tmp_path))
    os.kill(worker_of(run), signal.SIGKILL)
    assert first.wait(MINUTES) == 0, log_of(tmp_path)
    assert json.loads((run / "done.json").read_text())["steps"] == 200
    assert "was not finished: resuming from last.ckpt" in log_of(tmp_path)


def test_a_job_that_is_lost_takes_no_other_along(tmp_path: Path, sweep):
    first = sweep(*LONG, "seed=1,2", "hydra.launcher.max_retries=0")
    run = waited_for(lambda: half_done(tmp_path))
    os.kill(worker_of(run), signal.SIGKILL)
    assert first.wait(MINUTES) == 1
    assert len([*tmp_path.glob("swept/*/done.json")]) == 1, log_of(tmp_path)
    assert "the same command goes on from there" in log_of(tmp_path)


def test_no_cluster_is_one_line(tmp_path: Path):
    command = [sys.executable, "-m", "eat_lightning.train", "-m", "hydra/launcher=ray", *TINY]
    env = os.environ | {"EAT_OUTPUTS": str(tmp_path), "RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run([*command, "seed=1,2"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    said = "hydra.launcher.address=auto: no Ray cluster at 127.0.0.1:1 ("
    assert done.stderr.startswith(said)
