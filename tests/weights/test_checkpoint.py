"""Weights in and out: what is saved comes back, and what does not fit is said in one line."""

import json
from pathlib import Path

import pytest
import torch
from helpers.models import Nearest, kinds, method, ragged, tiny
from safetensors.torch import load_file

from eat_lightning.errors import ConfigError
from eat_lightning.weights.checkpoint import load_model, load_pretrained, save_model

LABELS = ["bad", "fair", "good"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with every kind of state."""
    encoder = tiny("longformer", "cls_topk", "confidence", head={"pool": "mean"})
    encoder.strength.fill_(0.7)
    encoder.heads["3"].temperature.fill_(1.3)
    save_model(encoder, LABELS, tmp_path / "model")
    return tmp_path / "model"


def body(folder: Path, num_labels: int = 3, head: dict | None = None, **options):
    static = {"attention": "dense", "reduction": "none", "exit": "never"}
    slots = {slot: method(slot, kind) for slot, kind in static.items()}
    return load_pretrained(str(folder), num_labels, **slots, head=head or {}, **options)


def edit(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_saved_comes_back(folder: Path):
    encoder, labels = load_model(folder)
    again = folder.parent / "again"
    save_model(encoder, labels, again)
    assert labels == LABELS
    assert not encoder.training
    assert encoder.strength.item() == 0.7
    assert encoder.heads["3"].temperature.item() == pytest.approx(1.3)
    assert encoder.exit.tau == [0.6, 0.53]
    assert (again / "config.json").read_text() == (folder / "config.json").read_text()
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_method_from_outside_the_package(tmp_path: Path):
    """Of a module that is not imported: tests/test_user_modules.py."""
    encoder = tiny()
    encoder = encoder.replacing(attention=Nearest(half_window=3))
    save_model(encoder, LABELS, tmp_path)
    assert load_model(tmp_path)[0].attention.half_window == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exit": "never"}, "exit must be a dict"),
        ({"id2label": None}, "not a model"),
        ({"id2label": {"0": "bad", "1": "good"}}, "size mismatch"),
        ({"head": {"layers": [9]}}, "head.layers must be in 0..6, got 9"),
        ({"exit": {"kind": "confidence", "layers": [2]}}, "exit.layers must have exit heads"),
        ({"model_type": "gpt2"}, "model_type must be one of albert, bert, .*, eat, got 'gpt2'"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(changes: dict, said: str, folder: Path):
    edit(folder, **changes)
    with pytest.raises(ConfigError, match=said) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 7, 5_000])
def test_a_truncated_file_is_one_line(size: int, folder: Path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ConfigError, match="not a whole safetensors file") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"eat"', "\0"])
def test_a_broken_config_is_one_line(text: str, folder: Path):
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config.json: cannot be read|model_type must be"):
        load_model(folder)


def test_missing_files(folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no model.safetensors"):
        load_model(folder)
    with pytest.raises(ConfigError, match=r"no config.json, so not a model folder"):
        load_model(folder / "nowhere")


def test_a_body_that_does_not_fit(bert: Path, folder: Path):
    with pytest.raises(ConfigError, match="its classifier has 3 classes, the task 2"):
        body(bert, num_labels=2)
    with pytest.raises(ConfigError, match=r"encoder.num_layers must be in 1..3 for .*, got 4"):
        body(bert, num_layers=4)
    with pytest.raises(ConfigError, match="is neither a folder nor available from a hub"):
        body(Path("no/such/folder"))


def test_a_runs_model_is_a_body_too(folder: Path):
    """Its weights and its last head; strength and temperatures are new."""
    run, _ = load_model(folder)
    head = {"pool": "mean", "layers": [2]}
    whole = body(folder, head=head)
    assert all(
        torch.equal(weight, run.state_dict()[name])
        for name, weight in whole.state_dict().items()
        if not name.startswith(("heads.2", "heads.3")) and name != "strength"
    )
    assert torch.equal(whole.heads["6"].classes.weight, run.heads["6"].classes.weight)
    assert torch.equal(whole.heads["2"].dense.weight, run.heads["6"].dense.weight)
    assert whole.strength.item() == 1.0
    assert whole.heads["6"].temperature.item() == 1.0
    half = body(folder, num_layers=3, take="alternate")
    for new, old in enumerate([0, 2, 5]):
        assert torch.equal(half.layers[new].up.weight, run.layers[old].up.weight)
    with pytest.raises(ConfigError, match="its classifier has 3 classes, the task 2"):
        body(folder, num_labels=2)
    edit(folder, num_heads=None, hidden_size=None)
    config = json.loads((folder / "config.json").read_text())
    del config["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"not a model.*hidden_size is missing"):
        body(folder)


def test_old_names_of_layer_norms(bert: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): w
        for n, w in weights.items()
    }
    save_file(old, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    batch = ragged()
    assert torch.equal(body(tmp_path).eval()(batch).logits_BC, body(bert).eval()(batch).logits_BC)


@pytest.mark.parametrize("kind", kinds("head"))
def test_every_kind_of_head_starts_from_what_there_is(kind: str, bert: Path, tmp_path: Path):
    """A pretrained pooler, and a finished run's last head."""
    head = {"kind": kind, "layers": "all", "activation": "auto"}
    encoder = body(bert, head=head)
    assert encoder.head["layers"] == [1, 2, 3]
    pooler = load_file(bert / "model.safetensors")["bert.pooler.dense.weight"]
    for own in encoder.heads.values():
        reads_more = kind in ("attention", "pair", "aligned")  # than a vector of this width
        assert reads_more or torch.equal(own.dense.weight, pooler)
    save_model(encoder, LABELS, tmp_path)
    tuned = body(tmp_path, head=head)
    for name, weight in encoder.heads["3"].named_parameters():
        assert torch.equal(tuned.heads["3"].get_parameter(name), weight)
