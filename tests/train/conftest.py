"""A run that is trained once for all tests of all workers."""

from pathlib import Path

import pytest
from helpers.training import copy_of_shared

from eat_lightning.runs.run import Run


@pytest.fixture(scope="session")
def run(outputs: Path) -> Run:
    """A copy that tests may write rows into."""
    return copy_of_shared("study=line", "model=eat_pruned")
