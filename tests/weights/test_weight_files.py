"""Weights in each form that transformers has written them, of bodies that somebody else made."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.finished import refused
from helpers.hostile import Bomb
from safetensors.torch import load_file, save_file

from eat_lightning.new.family_checks import encoder_in
from eat_lightning.weights.checkpoint import encoder_faults
from eat_lightning.weights.files import read_weights, weights_digest


@pytest.fixture
def body(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "body"))


def in_two(folder: Path, ending: str, save) -> None:
    """The weights as two shards, and the index that names them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = "model" if ending == "safetensors" else "pytorch_model"
    names, where = sorted(weights), {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"{stem}-0000{i + 1}-of-00002.{ending}"
        save({name: weights[name] for name in part}, folder / file)
        where |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))


def old(folder: Path, **how) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin", **how)


FORMS = {
    "two shards": lambda folder: in_two(folder, "safetensors", save_file),
    "bin": old,
    "bin of torch before 1.6": lambda folder: old(folder, _use_new_zipfile_serialization=False),
    "bin in two shards": lambda folder: in_two(folder, "bin", torch.save),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_body(form: str, body: Path, bert: Path):
    FORMS[form](body)
    found, wanted = encoder_in(body).state_dict(), encoder_in(bert).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert weights_digest(body) != weights_digest(bert)


def test_nothing_is_unpickled_but_weights(body: Path, tmp_path: Path):
    (body / "model.safetensors").unlink()
    for zipped in (True, False):
        bomb = {"x": Bomb(tmp_path / "pwned")}
        torch.save(bomb, body / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        assert "not a file of weights alone" in refused(read_weights, body, True)
    assert not (tmp_path / "pwned").exists()


class Settings:
    """What people pickle beside weights."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"x": torch.zeros(1), "args": Settings()}, "it holds a test_weight_files.Settings, which"),
        (
            {"state_dict": {"x": torch.zeros(1)}, "epoch": 3},
            "by their names, but state_dict, epoch",
        ),
        (b"hello", "not a file of weights alone (it is no pickle of tensors)"),
        (b"", "not a file of weights alone ("),
    ],
)
def test_what_else_lies_in_a_bin_is_named(content, said: str, body: Path):
    (body / "model.safetensors").unlink()
    path = body / "pytorch_model.bin"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    assert said in refused(read_weights, body, True)


def test_no_size_is_believed(body: Path):
    (body / "model.safetensors").unlink()
    path = body / "pytorch_model.bin"
    torch.save({"wide": torch.zeros(1).expand(10**9)}, path)
    assert "wide holds fewer numbers than it says" in refused(read_weights, body, True)
    torch.save({"a": torch.zeros(10**6)}, path)
    with zipfile.ZipFile(path) as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    assert "its weights are packed" in refused(read_weights, body, True)


@pytest.mark.parametrize(
    "named", ["../other/model.safetensors", "absent.safetensors", "/etc/hosts"]
)
def test_an_index_names_files_of_its_folder(named: str, body: Path):
    (body / "model.safetensors").rename(body / "elsewhere.safetensors")
    index = body / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": named}}))
    assert "which is not in its folder" in refused(read_weights, body)
    index.write_text("{}")
    assert "cannot be read" in refused(read_weights, body)


def test_a_run_has_no_old_weights(body: Path):
    old(body)
    assert "no model.safetensors (other weight files are not read)" in refused(read_weights, body)


def test_what_is_not_there_is_said_with_the_nearest(body: Path):
    config = json.loads((body / "config.json").read_text())
    for kind, near in (("modern-bert", "modernbert"), ("deberta-v3", "deberta-v2")):
        (body / "config.json").write_text(json.dumps(config | {"model_type": kind}))
        said = encoder_faults(num_layers=2, pretrained=str(body))
        assert len(said) == 1
        assert said[0].endswith(f"got '{kind}': did you mean {near}?")
    missing = str(body.parent / "bodi")
    assert encoder_faults(num_layers=2, pretrained=missing) == [
        f"encoder.pretrained={missing}: there is no such folder; the nearest name is {body}"
    ]
