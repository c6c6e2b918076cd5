"""Small training runs on toy data, in this process and in others, for tests."""

import os
import subprocess
import sys

import finished
import pytest
import shared
from filelock import FileLock

from eat_lightning.runs.run import Run, folder_for
from eat_lightning.train.__main__ import train

TINY = [
    *("data=toy", "encoder=tiny", "encoder.hidden_size=32", "encoder.intermediate_size=64"),
    *("data.num_train=160", "data.num_validation=60", "data.calibration=80"),
    *("trainer=smoke", "trainer.max_steps=9", "threads=1"),
]


def config_of(*overrides: str) -> dict:
    return finished.config_of("train", *overrides)


def trained(*overrides: str) -> Run:
    given = [*TINY, *overrides]
    config = config_of(*given)
    train(config, given)
    return Run.open(folder_for(config, given))


def shared_run(*overrides: str) -> Run:
    """Return a run that tests only read; the first of all workers trains it, the others find it."""
    shared.FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(shared.FOLDER / "runs.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EAT_OUTPUTS", str(shared.FOLDER / "runs"))
        return trained(*overrides)


def command(*overrides: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "eat_lightning.train", *overrides],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
