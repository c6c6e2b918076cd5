"""Weights, checkpoints and caches made by someone else, in each form that transformers has
written: no pickle is read, and no size believed that the weights have not."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.finished import refused
from helpers.hostile import Bomb, edit
from helpers.memory import Largest
from helpers.models import tiny
from safetensors.torch import load_file, save_file

from eat_lightning.bundle.hf import EatForSequenceClassification
from eat_lightning.new.family_checks import encoder_in
from eat_lightning.weights.checkpoint import encoder_faults, load_model, load_pretrained
from eat_lightning.weights.files import read_weights, weights_digest


@pytest.mark.parametrize("as_pickle", [False, True])
def test_a_pickle_in_place_of_weights(as_pickle: bool, run: Path, tmp_path: Path):
    path = run / "model" / "model.safetensors"
    bomb = pickle.dumps(Bomb(tmp_path / "pwned"))
    if as_pickle:
        path.write_bytes(bomb)
    else:
        torch.save({"x": Bomb(tmp_path / "pwned")}, path)
    assert "not a whole safetensors file" in refused(load_model, run / "model")
    path.rename(run / "model" / "pytorch_model.bin")
    assert "no model.safetensors (other weight files are not read)" in refused(
        load_model, run / "model"
    )
    assert not (tmp_path / "pwned").exists()


def test_a_pickle_in_place_of_last_ckpt(tmp_path: Path):
    from eat_lightning.train.plan import check_resume

    check_resume(tmp_path)
    for content in ({"state_dict": Bomb(tmp_path / "pwned")}, {"state_dict": {}}, 3):
        torch.save(content, tmp_path / "last.ckpt")
        assert "delete it to train from the start" in refused(check_resume, tmp_path)
    (tmp_path / "last.ckpt").write_bytes(pickle.dumps(Bomb(tmp_path / "pwned")))
    assert "not a checkpoint to resume from" in refused(check_resume, tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_a_teachers_cache_is_read_without_pickles_and_bounded(tmp_path: Path):
    from eat_lightning.train.teacher import read_cache

    path = tmp_path / "teacher.npy"
    np.save(path, np.zeros((3, 2), np.float32))
    assert not read_cache(path, 3, 2).any()
    assert np.isnan(read_cache(path, 4, 2)).all()
    assert np.isnan(read_cache(path, 3, 3)).all()
    np.save(path, np.array([[Bomb(tmp_path / "pwned")] * 2] * 3))
    assert np.isnan(read_cache(path, 3, 2)).all()
    np.save(path, np.array([[1, 2], [np.inf, 3]], np.float32))
    assert np.isnan(read_cache(path, 2, 2)).tolist() == [[False, False], [True, True]]
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 2), np.float32))
    with path.open("wb") as file:  # says it holds a terabyte
        np.lib.format.write_array_header_1_0(file, header | {"shape": (10**11, 2)})
    assert np.isnan(read_cache(path, 3, 2)).all()
    assert not (tmp_path / "pwned").exists()


def test_cached_tokens_that_are_packed_or_pickled_are_made_anew(tmp_path: Path):
    from eat_lightning.data.split import load

    arrays = {"ids": np.zeros(4, np.int32), "types": np.zeros(4, np.uint8)}
    arrays["offsets"] = np.array([0, 4])
    np.savez(tmp_path / "a.npz", **arrays)
    assert load(tmp_path / "a.npz", 1) is not None
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert load(tmp_path / "a.npz", 1) is None
    np.savez(tmp_path / "a.npz", **arrays | {"ids": np.array([Bomb(tmp_path / "pwned")] * 4)})
    assert load(tmp_path / "a.npz", 1) is None
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value: float, run: Path):
    from safetensors.torch import load_file, save_file

    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    name = "encoder.layers.2.up.weight"
    weights[name][1, 2] = value
    save_file(weights, path)
    assert "layers.2.up.weight holds values that are no numbers" in refused(load_model, path.parent)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_layers": 10**9}, "num_layers must be at most 1000, got 1000000000"),
        ({"num_layers": 60}, "its weights lack layers.6.qkv.weight"),
        ({"num_layers": -1}, "num_layers must be 1 or more, got -1"),
        ({"num_layers": "6"}, "num_layers must be a whole number, got '6'"),
        ({"vocab_size": 10**9}, "size mismatch: embedding.word.weight"),
        ({"max_positions": 10**9}, "max_positions must be at most 1048576"),
        ({"type_vocab_size": 10**9}, "size mismatch: embedding.token_type.weight"),
        ({"hidden_size": 4 * 10**8}, "size mismatch: embedding.word.weight"),
        ({"intermediate_size": 10**9}, "size mismatch: layers.0.up.weight"),
        ({"relative_buckets": 10**9}, "its weights lack relative.weight"),
        ({"max_positions": 10**6}, "size mismatch: embedding.position.weight"),
        ({"vocab_size": 10**40}, "vocab_size must be "),
    ],
)
def test_sizes_that_the_weights_have_not_are_refused_before_anything_is_made(
    changes: dict, said: str, run: Path
):
    edit(run / "model" / "config.json", **changes)
    with Largest() as seen:
        assert said in refused(load_model, run / "model")
    assert seen.num_bytes < 1e6


@pytest.mark.parametrize(
    ("slot", "spec"),
    [
        ("attention", {"kind": "linformer", "rank": 10**9}),
        ("exit", {"kind": "cats", "layers": [6], "width": 10**12}),
    ],
)
def test_what_a_method_asks_for_is_not_made_either(slot: str, spec: dict, run: Path):
    edit(run / "model" / "config.json", **{slot: spec})
    assert f"its weights lack {slot}." in refused(load_model, run / "model")
    read = EatForSequenceClassification.from_pretrained
    assert f"its weights lack encoder.{slot}." in refused(read, run / "model", error=ValueError)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 10**9}, "num_layers must be at most 1000"),
        ({"num_hidden_layers": 900}, "its weights lack 'layers.3."),
        ({"vocab_size": 10**9}, "size mismatch: embedding.word.weight"),
        ({"hidden_size": "wide"}, "hidden_size must be a whole number, got 'wide'"),
        ({"hidden_size": None}, "hidden_size must be a whole number, got None"),
        ({"hidden_act": ["gelu"]}, "hidden_act must be one of"),
        ({"num_attention_heads": 0}, "num_heads must be 1 or more, got 0"),
    ],
)
def test_a_body_of_impossible_sizes(changes: dict, said: str, bert: Path, tmp_path: Path):
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    edit(folder / "config.json", **changes)
    static = tiny()
    slots = {name: getattr(static, name) for name in ("attention", "reduction", "exit")}
    said_here = refused(lambda: load_pretrained(str(folder), 2, **slots, head={"layers": []}))
    assert said in said_here


def test_the_hugging_face_side_refuses_them_too(run: Path, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification

    import eat_lightning.bundle.hf  # noqa: F401

    folder = run / "model"
    read = AutoModelForSequenceClassification.from_pretrained
    sound = (folder / "config.json").read_text()
    for changes in ({"num_layers": 10**9}, {"vocab_size": 10**9}, {"max_positions": 10**9}):
        edit(folder / "config.json", **changes)
        message = refused(read, str(folder), error=ValueError)
        assert "must be at most 1" in message or "size mismatch" in message
        (folder / "config.json").write_text(sound)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'pwned')!r})\n")
    edit(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "evil.Evil"})
    assert type(read(str(folder))).__name__ == "EatForSequenceClassification"
    torch.save({"x": Bomb(tmp_path / "pwned")}, folder / "pytorch_model.bin")
    torch.save({"x": Bomb(tmp_path / "pwned")}, folder / "model.safetensors")
    refused(read, str(folder), error=ValueError)
    assert not (tmp_path / "pwned").exists()


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
        ({"x": torch.zeros(1), "args": Settings()}, f"it holds a {__name__}.Settings, which"),
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
