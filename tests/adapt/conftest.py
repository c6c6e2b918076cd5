"""A tiny classifier and a file of texts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.classifiers import drawn_texts, save_classifier

from eat_lightning.deploy.adapt import run, search


@pytest.fixture(autouse=True, scope="module")
def guesses_cost_nothing() -> Iterator[None]:
    """On two layers a guess that costs would close the exits, and these are what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "HEAD", 0.0)
        yield


@pytest.fixture(autouse=True, scope="module")
def one_core() -> Iterator[None]:
    """Threads of several test processes on the same cores wait for each other by spinning."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "cores", lambda: [0])
        yield


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("classifier") / "tiny")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,200 distinct texts, an empty line and a doubled one."""
    path = tmp_path_factory.mktemp("texts") / "logs.txt"
    lines = drawn_texts(1200)
    path.write_text("\n".join([*lines, "", lines[0]]))
    return path


@pytest.fixture(scope="session")
def few_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 texts of 4 to 15 words, enough for agree=0.8."""
    path = tmp_path_factory.mktemp("few") / "texts.txt"
    path.write_text("\n".join(drawn_texts(500)))
    return path
