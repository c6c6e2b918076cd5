"""Small training runs on toy data, in this process and in others, for tests."""

import shutil
from typing import Any

import pytest
from filelock import FileLock
from helpers import finished, shared
from helpers.commands import Command

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


def copy_of_shared(*overrides: str) -> Run:
    """Return a copy of a shared run that tests may write into; `trained` finds it finished."""
    given = [*TINY, *overrides]
    to = folder_for(config_of(*given), given)
    if not to.exists():
        shutil.copytree(shared_run(*overrides).folder, to)
    return Run.open(to)


def command(*overrides: str, **how: Any) -> Command:
    return Command("eat_lightning.train", *overrides, **how)
