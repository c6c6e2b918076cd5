"""Weights, checkpoints and caches made by someone else: no pickle is read, and no size believed
that the weights have not."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.finished import refused
from helpers.hostile import Bomb, edit
from helpers.models import tiny

from eat_lightning.weights.checkpoint import load_model, load_pretrained
from eat_lightning.weights.hf import EatForSequenceClassification


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


def only_without_memory(encoder: torch.nn.Module, initialise: object) -> None:
    assert next(encoder.parameters()).is_meta


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
        ({"num_layers": 1000}, "its weights lack layers.6.qkv.weight"),
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
    changes: dict, said: str, run: Path, monkeypatch: pytest.MonkeyPatch
):
    from eat_lightning.weights import checkpoint

    monkeypatch.setattr(checkpoint.AdaptiveEncoder, "apply", only_without_memory)
    edit(run / "model" / "config.json", **changes)
    assert said in refused(load_model, run / "model")


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

    import eat_lightning.weights.hf  # noqa: F401

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
