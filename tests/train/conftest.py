"""A run that is trained once for all tests of all workers."""

import shutil
from pathlib import Path

import pytest
from helpers.training import copy_of_shared

from eat_lightning.runs.run import Run


@pytest.fixture(scope="module")
def run(outputs: Path) -> Run:
    """A copy that a file's tests may write rows into, and no other file's tests read."""
    shared = "study=line", "model=eat_pruned"
    shutil.rmtree(copy_of_shared(*shared).folder)
    return copy_of_shared(*shared)
