"""A run as a narrower encoder: a run folder that every command takes."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import exported, make_run
from helpers.finished import refused
from helpers.models import ragged

from eat_lightning.export.narrow import narrowed
from eat_lightning.methods.objective._importance import best_of, importance
from eat_lightning.record.passes import record
from eat_lightning.runs.open import open_run
from eat_lightning.runs.run import Run

UNCHANGED = {"tau": None, "layers": None, "patience": None}
LINES = [b"good film", b"not very good at all", b"the film is not bad but the plot is dull"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sst2-eat-s1"
    return make_run(folder, "dense", "norm_topk", "confidence")


def test_it_is_the_encoder_ranked_on_training_data(run: Path):
    to = exported(run, "target=encoder", "heads=2", "inner=9", "examples=20", to="narrow")
    encoder, labels = Run.open(to).model()
    shape = encoder.shape
    assert (shape.num_heads, shape.head_width, shape.intermediate_size) == (2, 4, 9)
    whole, labels_of_run = Run.open(run).model()
    split = Run.open(run).data().split("train")
    rows = np.linspace(0, len(split) - 1, 20).round().astype(np.int64)
    found = importance(whole, [split.batch(rows[i : i + 8]) for i in (0, 8, 16)])
    with torch.no_grad():
        wanted_BC = narrowed(whole, best_of(found, 2, 9))(ragged()).logits_BC
        assert torch.equal(encoder(ragged()).logits_BC, wanted_BC)
    assert labels == labels_of_run
    about = json.loads((to / "narrowed.json").read_text())
    assert (about["run"], about["heads"], about["inner"]) == ("sst2-eat-s1", [2] * 3, [9] * 3)


def test_commands_take_it(run: Path):
    to = exported(run, "target=encoder", "heads=3", to="narrow3")
    narrow = Run.open(to)
    assert narrow.config["model"] == "sst2-eat-s1-h3-i24"
    answers = open_run(narrow, UNCHANGED, "fp32")(LINES)
    assert [*answers[0]] == [*open_run(Run.open(run), UNCHANGED, "fp32")(LINES)[0]]
    outcome = record(narrow.model()[0], narrow.data().split("validation"), batch_size=8).replay()
    assert np.isfinite(outcome.logits_BC).all()


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("onnx") is None, reason="needs the extra `onnx`")
def test_and_so_does_an_export_to_onnx(run: Path):
    to = exported(run, "target=encoder", "heads=2", "inner=12", to="narrow2")
    graphs = exported(to, "check=all", to="narrow2-onnx")
    about = json.loads((graphs / "export.json").read_text())
    assert about["agreement"]["batch_32"]["largest_gap"] < 1e-4


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            ["target=encoder"],
            "target=encoder narrows a run: give heads=, inner= or layers= (of this",
        ),
        (["target=encoder", "layers=2"], "layers must be 3, got 2: early heads"),
        (["target=encoder", "heads=5"], "heads must be in 1..4, got 5"),
        (["target=encoder", "inner=0"], "inner must be 1 or more, got 0"),
        (["target=encoder", "heads=2", "dtype=int8"], "dtype must be fp32 with target=encoder"),
        (["heads=2"], "heads must be null but with target=encoder, got 2"),
    ],
)
def test_faults(run: Path, given: list[str], fault: str):
    assert fault in refused(exported, run, *given, to="never")
    assert not run.with_name("never").exists()
