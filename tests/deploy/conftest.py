"""Finished runs that nobody trained: of a task of single texts, and of one of pairs."""

from pathlib import Path

import pytest
from helpers.finished import make_run


@pytest.fixture(scope="session")
def sst2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a folder whose name needs quotes."""
    return make_run(tmp_path_factory.mktemp("runs") / "task=sst2,model=eat,seed=1", "sst2")


@pytest.fixture(scope="session")
def mnli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "mnli", "mnli")
