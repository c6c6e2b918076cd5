"""Folders of release 0.3: refused everywhere in one line, and rewritten by `eat convert`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.adapting import adapted_by, cascades_are_fastest, plan_of, taken
from helpers.classifiers import drawn_texts, save_classifier
from helpers.finished import config_of
from helpers.old_folders import of_first_release, old_folder

import eat_lightning
from eat_lightning.bundle.bundle import Bundle
from eat_lightning.bundle.model import Model
from eat_lightning.config import parsed
from eat_lightning.deploy.convert.command import convert
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.errors import ConfigError
from eat_lightning.monitor.reference import Observation, Reference, deciding
from eat_lightning.record.certificate import Certificate

TEXTS = [[text] for text in drawn_texts(20, seed=4)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A cascade with exits in neither model."""
    root = tmp_path_factory.mktemp("cascade")
    model = save_classifier(root / "tiny")
    first = save_classifier(root / "first", num_hidden_layers=1)
    (root / "texts.txt").write_text("\n".join(drawn_texts(500)))
    words = ("agree=0.8", "heads.enabled=false", f"small='{first}'")
    plan = plan_of(model, root / "texts.txt", root / "to", *words)
    adapted_by(cascades_are_fastest, plan)
    return Bundle(root / "to")


def converted(old: Path, to: Path) -> Path:
    return convert(config_of("convert", f"old='{old}'", f"to='{to}'"))


@pytest.fixture
def old(bundle: Bundle, tmp_path: Path) -> Path:
    return old_folder(bundle, tmp_path / "old")


@pytest.mark.parametrize("older", [False, True])
def test_it_answers_as_before_and_its_certificate_holds(
    bundle: Bundle, old: Path, tmp_path: Path, older: bool, capsys: pytest.CaptureFixture[str]
):
    old = of_first_release(old) if older else old
    to = converted(old, tmp_path / "new")
    assert "small -> before" in capsys.readouterr().out
    model, same = Model.open(to, check=True), Model.open(bundle.folder)
    assert model.answer(TEXTS) == same.answer(TEXTS)
    assert model.certificate is not None
    assert same.certificate is not None
    assert model.certificate.tallies == same.certificate.tallies
    assert model.certificate.claims == same.certificate.claims
    tried = [each.as_dict() for each in model.candidates]
    assert tried == ([] if older else [each.as_dict() for each in same.candidates])
    assert not [*to.glob("adapted.json"), *to.glob("small")]


def test_every_command_names_convert(old: Path):
    for act in (
        lambda: parsed(PredictSettings, config_of("predict", f"run='{old}'")),
        lambda: Model.open(old),
    ):
        with pytest.raises(ConfigError, match=r"^.*: a folder of release 0.3.*: eat convert old="):
            act()
    with pytest.raises(ValueError, match="eat convert old="):
        eat_lightning.load(old)


@pytest.mark.parametrize("older", [False, True])
def test_other_files_than_the_certified_are_refused(old: Path, tmp_path: Path, older: bool):
    old = of_first_release(old) if older else old
    with (old / "small" / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ConfigError, match=r"its (small )?weights are not those"):
        converted(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_drift_s_reference_goes_with_what_was_certified(old: Path, tmp_path: Path):
    certificate = Certificate.read(Bundle(old), "adapted")
    seen = [Observation(0.9, 2, 1.0, 9, 0)] * 300
    holds_for = deciding(certificate.holds_for, None)
    Reference(seen, holds_for).write(old)
    new = Bundle(converted(old, tmp_path / "new"))
    bound = deciding(Certificate.read(new, "adapted").holds_for, None)
    assert Reference.read(new.folder / "drift.json").holds_for == bound
    Reference(seen, holds_for | {"weights": "others"}).write(old)
    with pytest.raises(ConfigError, match=r"^drift.json holds for another weights \(others there"):
        converted(old, tmp_path / "newer")
    assert not (tmp_path / "newer").exists()


def test_what_is_no_folder_of_0_3_is_refused_in_one_line(bundle: Bundle, old: Path, tmp_path: Path):
    def said(folder: Path, to: Path = tmp_path / "new") -> str:
        with pytest.raises(ConfigError) as error:
            converted(folder, to)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "new").exists()
        return str(error.value)

    assert "there is no such folder" in said(tmp_path / "none")
    assert "neither adapted.json nor lists.json" in said(bundle.folder.parent / "tiny")
    assert "there is nothing to convert" in said(bundle.folder)
    assert "is there already" in said(old, bundle.folder)
    (old / "link").symlink_to(bundle.folder / "config.json")
    assert "a link" in said(old)
    (old / "adapted.json").write_text(json.dumps({"engine": "java"}))
    assert "adapted.json: cannot be read" in said(old)


@pytest.mark.slow
def test_graphs_share_the_classifiers_weights(tmp_path: Path):
    pytest.importorskip("onnxscript")

    def onnx_is_fastest(candidates: dict[str, Any], **_: Any) -> Any:
        ms = {key: 1.0 if "onnx fp32" in key else 10.0 for key in candidates}
        yield {key: taken(x) for key, x in ms.items()}

    model = save_classifier(tmp_path / "tiny")
    (tmp_path / "texts.txt").write_text("\n".join(drawn_texts(500)))
    words = ("engines=[onnx]", "agree=0.8", "heads.enabled=false")
    adapted_by(onnx_is_fastest, plan_of(model, tmp_path / "texts.txt", tmp_path / "to", *words))
    bundle = Bundle(tmp_path / "to")
    graphs = bundle.graphs("onnx", "fp32")
    assert (graphs / "model.safetensors").samefile(bundle.folder / "model.safetensors")
    to = converted(old_folder(bundle, tmp_path / "old"), tmp_path / "new")
    shared = Bundle(to).graphs("onnx", "fp32") / "model.safetensors"
    assert shared.samefile(to / "model.safetensors")
    assert Model.open(to, check=True).answer(TEXTS) == Model.open(bundle.folder).answer(TEXTS)
    Model.open(to).save(tmp_path / "copy")
    shared = Bundle(tmp_path / "copy").graphs("onnx", "fp32") / "model.safetensors"
    assert shared.samefile(tmp_path / "copy" / "model.safetensors")
    shutil.rmtree(bundle.folder)
    assert Model.open(tmp_path / "copy", check=True).answer(TEXTS)
