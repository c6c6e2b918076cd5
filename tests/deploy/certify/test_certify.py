"""From a run to a certificate, and by its name to `measure` and `predict`, which refuse another."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers import toy
from helpers.certificates import answers, call, make_run, measured
from helpers.finished import called, config_of, refused
from helpers.models import method

from eat_lightning.answer_kind import MultiLabel
from eat_lightning.bundle.certificates import certificate_of
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.deploy.certify.command import main
from eat_lightning.deploy.certify.plan import kind_faults
from eat_lightning.deploy.drift.command import drift
from eat_lightning.model.packed import Batch
from eat_lightning.monitor.reference import FOLDER, Reference
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.claim import Claim
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.hf_folder import save_run_model

NAME = "harm-0.3-0.95"
WINDOWS = ("long=windows", "windows.size=9", "windows.overlap=3", "windows.label=negative")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one certificate, NAME."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    assert call(run, "risk=harm", "level=0.3").name == NAME
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_what_is_chosen_and_saved(run: Path, capsys: pytest.CaptureFixture):
    certificate = call(run, "risk=harm", "level=0.3")
    assert certificate.name == "harm-0.3-0.95"
    saved = json.loads((run / "certificates/harm-0.3-0.95.json").read_text())
    assert Certificate(**saved) == certificate == certificate_of(Run.open(run), certificate.name)
    assert not certificate.fallback
    assert certificate.claim == Claim("harm", 0.3, 0.95)
    rule = certificate.methods["exit"]
    assert (type(rule).__name__, rule.layers) == ("Confidence", [3, 4])
    # The same from running the model with that rule.
    encoder, _ = load_model(run / "model")
    split = Run.open(run).data().split("certificate")
    assert len(split) == certificate.seen["num_examples"] == 300
    batch = split.batch(np.arange(300))
    with torch.inference_mode():
        encoder = encoder.replacing(exit=rule)
        early = encoder(batch)
        encoder = encoder.replacing(exit=method("exit", "never"))
        full = encoder(batch).logits_BC.argmax(-1)
    right = full == batch.labels_B
    harm = right & (early.logits_BC.argmax(-1) != batch.labels_B)
    assert certificate.seen["risk"] == pytest.approx(float(harm.double().mean()))
    assert certificate.seen["depth"] == pytest.approx(float(early.depth_B.double().mean()))
    assert certificate.seen["flops_ratio"] < certificate.seen["full_flops_ratio"]
    assert certificate.seen["majority"] == 0.5
    assert certificate.seen["recall"] == {"negative": 0, "positive": 1}
    assert "use it with certificate=harm-0.3-0.95" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), WINDOWS])
def test_a_certificate_brings_its_drift_reference(run: Path, words: tuple[str, ...]):
    """It is the one that `eat drift` would make, and comes from the pass that was certified."""
    name = call(run, "risk=harm", "level=0.3", *words).name
    path = run / FOLDER / f"{name}.json"
    certified = Reference.read(path)
    drift(config_of("drift", f"run='{run}'", f"certificate='{name}'", *words))
    made = Reference.read(path)
    assert certified.holds_for == made.holds_for
    for one, other in zip(certified.seen, made.seen, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert replace(one, confidence=0) == replace(other, confidence=0)
    assert len({each.depth for each in made.seen}) > 1


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of data whose labels the environment turns."""
    monkeypatch.setenv("EAT_IMPORT", toy.__name__)
    return make_run(tmp_path / "watched", _target_=toy.TARGET)


def test_only_the_certificate_part_is_read(watched: Path, monkeypatch: pytest.MonkeyPatch):
    """With other labels in every other part the certificate is bit-equal; not with its own."""
    path = watched / "certificates/accuracy_gap-0.3-0.95.json"
    contents = []
    for turned in ("", "train,select,temperature,validation", "certificate"):
        monkeypatch.setenv(toy.TURNED, turned)
        call(watched, "risk=accuracy_gap", "level=0.3")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_too_little_data_is_full_depth_and_no_error(run: Path, capsys: pytest.CaptureFixture):
    assert called(main, f"run={run}", "level=0.001") == 0
    said, errors = capsys.readouterr()
    assert errors == ""
    assert said.startswith(
        "fallback to full depth: 300 examples are too few: 0.1 % at 95 % confidence takes 3"
    )
    assert "guarantee: nothing leaves early, so accuracy gap is 0" in said
    assert called(main, f"run={run}", "level=2") == 1
    assert capsys.readouterr() == ("", "error: level must be below 1, got 2\n")
    certificate = certificate_of(Run.open(run), "accuracy_gap-0.001-0.95")
    assert certificate.fallback
    assert certificate.point.methods["exit"].as_dict() == {"kind": "never"}
    (answer,) = answers(run, certificate.name, "good")
    assert answer["depth"] == 6


def test_full_depth_has_false_negatives_of_its_own(run: Path):
    """At full depth this encoder says positive to everything, and so misses no positive one."""
    level = ["risk=false_negatives", "level=0.01", "confidence=0.5"]
    said = call(run, *level, "class=negative")
    assert said.name == "false_negatives_of_negative-0.01-0.5"
    assert (said.claim.loss, said.claim.label) == ("false_negatives", 0)
    assert said.seen["num_examples"] == 150
    assert said.reason.startswith("at full depth itself 150 of 150 examples fail")
    share = "the share of negative examples not answered negative"
    assert said.guarantee == f"nothing is guaranteed about {share}, which full depth itself has too"
    assert said.seen["full_score"] == 0
    held = call(run, *level, "class=1", "name=mine")
    assert (held.name, held.fallback) == ("mine", True)
    assert held.guarantee.startswith("with 50 % confidence")
    assert held.guarantee.endswith(
        ", the share of positive examples not answered positive is at most 1 %"
    )
    assert not call(run, *level, "class=1", "level=0.5").fallback


def test_used_by_name(run: Path, capsys: pytest.CaptureFixture):
    certificate = call(run, "risk=harm", "level=0.4", "ratios=[0.8]")
    assert not certificate.fallback
    (row,) = measured(run, certificate.name)
    assert (row.exit, row.reduction) == tuple(
        certificate.point.methods[slot] for slot in ("exit", "reduction")
    )
    assert f"certificate {certificate.name}: with 95 % confidence" in capsys.readouterr().out
    texts = ["good", "not bad film", "a fine film and not a bad one"]
    given = answers(run, certificate.name, *texts)
    encoder, _ = load_model(run / "model")
    encoder = encoder.replacing(exit=certificate.methods["exit"])
    encoder = encoder.replacing(reduction=method("reduction", "norm_topk", ratio=0.8))
    for text, answer in zip(texts, given, strict=True):
        trace = encoder(Batch.from_lists([toy_tokenizer()(text)["input_ids"]]))
        assert answer["depth"] == int(trace.depth_B[0])
        assert answer["retention"] == pytest.approx(float(trace.retention_B[0]), abs=1e-6)


def with_other_certificate(run: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Rewrite what a run's certificate holds for."""
    path = run / "certificates" / f"{name}.json"
    content = json.loads(path.read_text())
    change(content["holds_for"])
    path.write_text(json.dumps(content))


def test_a_certificate_of_another_dtype(run: Path):
    """It holds for `measure` and `predict` in that dtype, whose weights they convert alike."""
    made = call(run, "risk=harm", "level=0.3", "dtype=int8")
    assert made.point.dtype == "int8"
    (row,) = measured(run, made.name, "dtype=int8")
    assert row.dtype == "int8"
    answers(run, made.name, "good", dtype="int8")
    assert refused(measured, run, made.name).endswith("fp32 here)")
    with_other_certificate(run, made.name, lambda given: given.pop("int8 computation"))
    message = refused(lambda: answers(run, made.name, "good", dtype="int8"))
    assert message.endswith("another int8 computation (of an earlier version there, 0.4.1 here)")


def test_another_combination_is_refused(run: Path):
    start = f"certificate={NAME} holds for another "
    message = refused(lambda: answers(run, NAME, "good", dtype="bf16"))
    assert message == start + "dtype (fp32 there, bf16 here)"
    message = refused(lambda: answers(run, NAME, "good", dtype="int8"))
    assert message == start + "dtype (fp32 there, int8 here), layout (prepacked there, plain here)"
    message = refused(measured, run, NAME, "dtype=bf16", "reduction.ratio=0.7")
    assert message.startswith(
        start + "reduction (norm_topk layers [2, 4] ratio 0.4 there, norm_topk "
    )
    assert message.endswith("dtype (fp32 there, bf16 here)")
    message = refused(lambda: answers(run, NAME, "good", exit={"tau": 0.99}))
    assert message.startswith(start + "exit (confidence layers [3, 4] tau ")
    message = refused(measured, run, NAME, "attention=longformer")
    assert message.startswith(
        start + "attention (dense there, longformer layers None window 32 here)"
    )
    assert refused(measured, run, NAME, "taus=[0.8]").startswith("taus: a certificate holds for")


def test_other_weights_are_refused(run: Path):
    encoder, labels = load_model(run / "model")
    encoder.heads["3"].temperature.mul_(1.5)
    save_run_model(encoder, labels, run / "model")
    for use in (measured, lambda run, name: answers(run, name, "good")):
        message = refused(use, run, NAME)
        assert message.startswith(f"certificate={NAME} holds for another weights (")
        assert "model" not in message.removeprefix(f"certificate={NAME}")


def test_another_cut_is_refused(run: Path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["grammar_seed"] = 5
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    message = refused(lambda: answers(run, NAME, "good"))
    assert message.startswith(f"certificate={NAME} holds for another cut (")


def test_other_calibration_data_are_refused(watched: Path, monkeypatch: pytest.MonkeyPatch):
    """The cut's settings are as they were; what lies there is not."""
    call(watched, "risk=harm", "level=0.3")
    measured(watched, NAME)
    monkeypatch.setenv(toy.TURNED, "certificate")
    message = refused(measured, watched, NAME)
    assert message.startswith(f"certificate={NAME} holds for another calibration (")


def test_a_certificate_that_is_none(run: Path):
    folder = (run / "certificates").rename(run / "kept")
    made_by = f"has none: make one with certify run={run}"
    assert refused(lambda: answers(run, "x", "good")).endswith(made_by)
    export: Any = SimpleNamespace(folder=run.parent, name="deployed")
    made_by = f"deployed has none: make one with certify run=... onnx={run.parent}"
    assert refused(certificate_of, export, "x").endswith(made_by)
    folder = folder.rename(run / "certificates")
    assert refused(lambda: answers(run, "x", "good")) == f"certificate=x: run has only {NAME}"
    message = refused(lambda: answers(run, "../config", "good"))
    assert message == "certificate must be a plain name, got '../config'"
    whole = json.loads((folder / f"{NAME}.json").read_text())
    damaged = [
        "{",
        "[]",
        json.dumps(whole | {"colour": 1}),
        json.dumps(whole | {"holds_for": {}}),
        json.dumps(whole).replace('"kind": "confidence"', '"kind": "os.system"'),
    ]
    for content in damaged:
        (folder / "x.json").write_text(content)
        assert "x.json: not a certificate (" in refused(lambda: answers(run, "x", "good"))


FAULTS = {
    "name=a@b": "name must be a plain name, got 'a@b'",
    "class=positive": "class is for risk=false_negatives, got 'positive'",
}


@pytest.mark.parametrize(("override", "said"), FAULTS.items())
def test_a_fault_is_one_line(override: str, said: str, made: Path):
    assert refused(call, made, override) == said


def test_a_class_must_be_named(made: Path):
    wanted = "class must name one of negative, positive, got "
    assert refused(call, made, "risk=false_negatives") == wanted + "None"
    assert refused(call, made, "risk=false_negatives", "class=neutral") == wanted + "'neutral'"
    assert refused(call, made, "risk=false_negatives", "class=2") == wanted + "2"


def test_a_risk_of_single_classes_is_none_of_sets():
    sets = MultiLabel(3)
    [fault] = kind_faults("harm", sets)
    assert fault.endswith("this task has sets of labels: use risk=disagreement")
    assert kind_faults("disagreement", sets) == []


def test_runs_of_which_nothing_can_be_certified(tmp_path: Path):
    assert "is not a run folder (no config.yaml in it)" in refused(call, tmp_path)
    regression = make_run(tmp_path / "stsb", "stsb", "never")
    assert refused(call, regression).endswith("this task is a regression: use risk=disagreement")
    bare = make_run(tmp_path / "bare", exit="never")
    assert refused(call, bare) == (
        "run=bare has no exit head before its last layer, so nothing can leave early"
    )
