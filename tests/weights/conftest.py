"""A finished run that each test may spoil, and a body of Hugging Face."""

import shutil
from pathlib import Path

import pytest
from helpers.finished import make_run
from helpers.models import spread

from eat_lightning.weights.checkpoint import load_model, save_model


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the encoder's own form, with all of its weights in one file."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "run", "sst2")
    model = load_model(folder / "model")
    shutil.rmtree(folder / "model" / "exits")
    save_model(*model, folder / "model")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain classifier of 3 layers and 3 labels."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 4, "num_labels": 3}
    sizes |= {"id2label": {0: "bad", 1: "fair", 2: "good"}}
    sizes |= {"num_hidden_layers": 3, "intermediate_size": 24, "max_position_embeddings": 40}
    path = tmp_path_factory.mktemp("bert")
    spread(BertForSequenceClassification(BertConfig(**sizes))).save_pretrained(path)
    return path
