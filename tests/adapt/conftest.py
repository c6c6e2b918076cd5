"""A tiny classifier and a file of texts."""

from pathlib import Path

import pytest
from helpers.adapting import adapted_by, made_up_times, plan_of
from helpers.classifiers import drawn_texts, save_classifier

from eat_lightning.deploy.adapt.folder import AdaptResult


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
def adapted(classifier: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> AdaptResult:
    """The classifier, adapted to change at most one answer in ten."""
    to = tmp_path_factory.mktemp("adapted") / "to"
    return adapted_by(made_up_times, plan_of(classifier, texts, to))


@pytest.fixture(scope="session")
def few_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 texts of 4 to 15 words, enough for agree=0.8."""
    path = tmp_path_factory.mktemp("few") / "texts.txt"
    path.write_text("\n".join(drawn_texts(500)))
    return path
