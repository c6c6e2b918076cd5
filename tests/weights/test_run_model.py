"""A run's model folder: transformers' classifier of its family, with the rest beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import padded, ragged, tiny
from safetensors.torch import load_file

from eat_lightning.bundle.hf import EatConfig, EatForSequenceClassification
from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import in_int8
from eat_lightning.model.packed import Batch
from eat_lightning.model.specification import build
from eat_lightning.new.family_checks import encoder_in, examples, hugging_face
from eat_lightning.new.family_checks import padded as as_theirs
from eat_lightning.record.dial import conditions
from eat_lightning.record.point import INT8_EXITS
from eat_lightning.runs.validate import links_out
from eat_lightning.weights.checkpoint import load_model, load_pretrained, save_model
from eat_lightning.weights.families import FAMILIES
from eat_lightning.weights.files import model_files, own_config
from eat_lightning.weights.hf_folder import save_run_model

STATIC = {"attention": "dense", "reduction": "none", "exit": "never"}
LABELS = ["bad", "fair", "good"]
BERTS = {"activation": "tanh"}  # the head of BERT's classifier


def trained(**changes: Any) -> AdaptiveEncoder:
    """An encoder with a method in each slot, whose heads are calibrated and whose strength is not
    full."""
    encoder = tiny("longformer", "cls_topk", "confidence", head=BERTS | changes)
    encoder.strength.fill_(0.7)
    for layer, head in encoder.heads.items():
        head.temperature.fill_(1.1 + int(layer) / 10)
    return encoder


def written(encoder: AdaptiveEncoder, folder: Path) -> Path:
    save_run_model(encoder, LABELS, folder)
    return folder


def assert_same(one: AdaptiveEncoder, other: AdaptiveEncoder, batch: Batch | None = None) -> None:
    """All weights to the last bit, and all answers."""
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    with torch.no_grad():
        traces = one(batch or ragged()), other(batch or ragged())
    assert torch.equal(traces[0].logits_BC, traces[1].logits_BC)
    assert torch.equal(traces[0].depth_B, traces[1].depth_B)


def test_transformers_opens_it_at_full_depth(tmp_path: Path):
    """Its logits are those of every layer and token, at the last head's temperature."""
    from transformers import AutoModelForSequenceClassification

    encoder = trained()
    model: Any = AutoModelForSequenceClassification.from_pretrained(written(encoder, tmp_path))
    assert type(model).__name__ == "BertForSequenceClassification"
    assert model.config.id2label == dict(enumerate(LABELS))
    static = {slot: build(slot, {"kind": kind}) for slot, kind in STATIC.items()}
    with torch.no_grad():
        whole = encoder.replacing(**static)(ragged()).logits_BC
        torch.testing.assert_close(model.eval()(**padded(ragged())).logits, whole)


def test_it_comes_back_to_the_last_bit(tmp_path: Path):
    encoder = trained()
    opened, labels = load_model(written(encoder, tmp_path))
    assert labels == LABELS
    assert_same(encoder, opened)
    assert_same(encoder, EatForSequenceClassification.from_pretrained(tmp_path).encoder)


def test_weights_are_stored_once(tmp_path: Path):
    """Beside the classifier lie heads and strength, and no layer of the backbone."""
    beside = load_file(written(trained(), tmp_path) / "exits" / "model.safetensors")
    assert {name.split(".")[0] for name in beside} == {"heads", "strength"}


@pytest.mark.parametrize("family", sorted({family.name for family in FAMILIES.values()}))
def test_every_family(family: str, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification

    hugging_face(FAMILIES[family]).save_pretrained(tmp_path / "body")
    encoder = encoder_in(tmp_path / "body")
    encoder.heads.at(encoder.shape.num_layers).temperature.fill_(1.3)
    save_run_model(encoder, LABELS, tmp_path / "run")
    opened, _ = load_model(tmp_path / "run")
    model: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run")
    assert model.config.model_type == family
    batch = examples(model)
    assert_same(encoder, opened, batch)
    with torch.no_grad():
        theirs = model.eval()(**as_theirs(model, batch, False)).logits
        torch.testing.assert_close(theirs, encoder(batch).logits_BC, atol=1e-4, rtol=1e-4)


def test_halves_stay_halves(tmp_path: Path):
    """In the file. Our own loader opens them in fp32, and loses nothing."""
    encoder = trained().to(torch.bfloat16)
    opened, _ = load_model(written(encoder, tmp_path))
    stored = load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    assert_same(encoder.float(), opened)


def test_settings_replace_those_of_the_folder(tmp_path: Path):
    rule = {"kind": "patience", "patience": 1, "layers": [2, 3]}
    folder = written(trained(), tmp_path)
    model = EatForSequenceClassification.from_pretrained(
        folder, reduction={"kind": "none"}, exit=rule
    )
    assert [*model.encoder.heads] == ["2", "3", "4", "6"]
    assert model.encoder.heads["3"].temperature.item() == pytest.approx(1.4)
    assert model.config.reduction == {"kind": "none"}
    assert Path(model.name_or_path) == folder  # where its dial is looked for


def test_the_next_training_starts_from_it(tmp_path: Path):
    """From the backbone and the last head, as from any run's model."""
    encoder = trained()
    static = {slot: build(slot, {"kind": kind}) for slot, kind in STATIC.items()}
    head = {"layers": [], "last": "auto"}
    opened = load_pretrained(str(written(encoder, tmp_path)), 3, **static, head=head)
    with torch.no_grad():
        wanted, found = encoder.replacing(**static)(ragged()), opened.eval()(ragged())
    assert torch.equal(wanted.logits_BC, found.logits_BC)


@pytest.mark.parametrize("head", [{"activation": "gelu"}, {"pool": "mean"}])
def test_a_head_that_no_family_has_stays_in_our_form(head: dict[str, Any], tmp_path: Path):
    encoder = trained(**head)
    assert own_config(written(encoder, tmp_path)) is None
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "eat"
    assert_same(encoder, load_model(tmp_path)[0])


def test_what_is_written_over_it_is_what_opens(tmp_path: Path):
    """The encoder's own form needs no other file, also where exits of before are left."""
    written(trained(), tmp_path)
    other = tiny("dense", "none", "confidence", head=BERTS)
    save_model(other, LABELS, tmp_path)
    assert model_files(tmp_path) == [tmp_path / "model.safetensors"]
    assert_same(other, load_model(tmp_path)[0])
    assert_same(other, EatForSequenceClassification.from_pretrained(tmp_path).encoder)


def test_a_dial_is_of_the_exits_too(tmp_path: Path):
    """A head whose temperature changed is another model, though its backbone is the same."""
    encoder = trained()
    before = conditions(written(encoder, tmp_path), encoder)
    encoder.heads["3"].temperature.fill_(2.0)
    assert conditions(written(encoder, tmp_path), encoder)["weights"] != before["weights"]


def test_a_dial_in_int8_is_of_how_early_exits_are_computed(tmp_path: Path):
    """Those of before 0.4.1 do not say it, so that they are fitted anew."""
    encoder = trained()
    folder = written(encoder, tmp_path)
    assert not INT8_EXITS.keys() & conditions(folder, encoder).keys()
    assert INT8_EXITS.items() <= conditions(folder, in_int8(encoder)).items()


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("exits/model.safetensors", None, "no model.safetensors"),
        ("exits/config.json", {"num_layers": 10**9}, "num_layers must be at most 1000"),
        ("exits/config.json", {"num_layers": 7}, "its weights lack"),
        ("config.json", {"model_type": "roberta"}, "size mismatch|its weights lack"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(
    file: str, change: dict[str, Any] | None, said: str, tmp_path: Path
):
    path = written(trained(), tmp_path) / file
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for read, error in (
        (load_model, ConfigError),
        (EatForSequenceClassification.from_pretrained, ValueError),
    ):
        with pytest.raises(error, match=said) as found:
            read(tmp_path)
        assert "\n" not in str(found.value)


def test_the_dtype_of_the_folder_and_a_subfolder(tmp_path: Path):
    written(trained().to(torch.bfloat16), tmp_path / "model")
    model = EatForSequenceClassification.from_pretrained(tmp_path, subfolder="model", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.encoder.exit.layers == [3, 4]


def test_a_config_opened_by_itself_has_the_exits(tmp_path: Path):
    config = EatConfig.from_pretrained(written(trained(), tmp_path))
    assert config.exit["kind"] == "confidence"
    opened = EatForSequenceClassification.from_pretrained(tmp_path, config=config)
    assert_same(trained(), opened.encoder)


def test_a_config_without_groups_of_layers_is_read(tmp_path: Path):
    path = written(trained(), tmp_path) / "exits" / "config.json"
    about = json.loads(path.read_text())
    del about["layer_groups"]
    path.write_text(json.dumps(about))
    assert_same(trained(), load_model(tmp_path)[0])


def test_links_out_of_a_run_are_seen_in_its_exits(tmp_path: Path):
    written(trained(), tmp_path / "run" / "model")
    path = tmp_path / "run" / "model" / "exits" / "config.json"
    path.rename(tmp_path / "elsewhere.json")
    assert links_out(tmp_path / "run") == []
    path.symlink_to(tmp_path / "elsewhere.json")
    [found] = links_out(tmp_path / "run")
    assert "a link that leads out of the run" in found
