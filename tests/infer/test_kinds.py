"""Several labels and a score from a run to its answers: dial, certificate, export, predict."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import exports
from helpers.finished import config_of, refused
from helpers.models import tiny

from eat_lightning.answer_kind import MULTI, Score
from eat_lightning.deploy.certify.__main__ import certify
from eat_lightning.deploy.predict.explain import explained
from eat_lightning.infer.onnx_runner import Runner
from eat_lightning.measure.__main__ import measure
from eat_lightning.model.heads import slot_faults
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.runs.open import open_run
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model

RULES = [("moods", "every_label"), ("moods", "fpabee_labels"), ("stsb", "predicted_error")]
QUICK = [RULES[0], pytest.param(RULES[1], marks=pytest.mark.slow), RULES[2]]
TEXTS = ["the plot was great and the cast was not boring", "awful story", "the film was funny"]


@pytest.fixture(scope="module", params=QUICK, ids=[rule for _, rule in RULES])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    task, rule = request.param
    folder = tmp_path_factory.mktemp("runs") / rule
    exports.make_run(folder, "dense", "none", rule, task=task)
    about = {"model": "eat", "encoder": {"pretrained": None}, "study": "kinds", "seed": 1}
    config = yaml.safe_load((folder / "config.yaml").read_text()) | about
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def texts_for(run: Path) -> list[list[str]]:
    columns = Run.open(run).task.columns
    return [[text, *TEXTS[: len(columns) - 1]] for text in TEXTS]


def test_answers_have_the_keys_of_their_kind(run: Path):
    backend = open_run(Run.open(run))
    for answer in backend.answer(texts_for(run)):
        assert [*answer][: len(backend.kind.columns)] == [*backend.kind.columns]
    lines = explained(backend, texts_for(run)[0])
    assert [line.split()[0] for line in lines[:-1]] == ["layer"] * len(lines[:-1])
    assert " layers: " in lines[-1]


@pytest.mark.slow
def test_an_export_answers_as_the_run_does(run: Path):
    pytest.importorskip("onnx")
    folder = exports.exported(run, "check=all", to=f"onnx-{run.name}")
    backend, runner = open_run(Run.open(run)), Runner(folder)
    assert runner.kind == backend.kind
    for texts in (texts_for(run), texts_for(run)[:1]):  # graph to graph, and in the single one
        pairs = zip(runner.answer(texts), backend.answer(texts), strict=True)
        for theirs, ours in pairs:
            assert theirs["depth"] == ours["depth"]
            for key in backend.kind.columns:
                if isinstance(ours[key], list) and ours[key] and isinstance(ours[key][0], str):
                    assert theirs[key] == ours[key]
                else:
                    assert theirs[key] == pytest.approx(ours[key], abs=1e-4)


def test_measure_finds_a_point_by_agreement(run: Path):
    given = [f"run={run}", "timing.enabled=false", "agree=[0.8]", "baselines=fixed"]
    rows = [row for row in measure(config_of("measure", *given)) if row.agree is not None]
    assert len(rows) == 1
    values = {name: getattr(rows[0], name) for name in Run.open(run).task.metrics}
    assert None not in values.values()


def test_records_are_read_as_they_were_written(run: Path, tmp_path: Path):
    recorded = record(load_model(run / "model")[0], Run.open(run).data().split("validation"))
    recorded.to_parquet(tmp_path / "examples.parquet")
    again = Record.read(tmp_path / "examples.parquet")
    assert again.kind == recorded.kind
    np.testing.assert_array_equal(again.labels, recorded.labels)
    for layer, guess_BC in recorded.guesses.items():
        np.testing.assert_array_equal(again.guesses[layer], guess_BC)


def test_a_certificate_is_of_disagreement_alone(run: Path):
    given = [f"run={run}", "level=0.5", "confidence=0.9"]
    made = certify(config_of("certify", *given, "risk=disagreement"))
    assert made.guarantee.endswith("disagreement is at most 50 %")
    message = refused(certify, config_of("certify", *given, "risk=harm"))
    title = "is a regression" if Run.open(run).task.regression else "has sets of labels"
    assert message == f"risk=harm compares classes, and this task {title}: use risk=disagreement"


def test_heads_without_an_error_have_no_rule_that_reads_one(run: Path):
    encoder, kind = load_model(run / "model")[0], Run.open(run).kind
    if not isinstance(kind, Score):
        message = refused(open_run, Run.open(run), {"_target_": CONFIDENCE, "tau": 0.9})
        assert message.startswith("exit=confidence compares classes, and this task has sets")
        return
    static = tiny(exit="never", num_labels=1, head={"layers": [3, 4]})
    faults = slot_faults(encoder.exit, [1, 2, 3, 4], 4, static.kind)
    assert faults == ["exit=predictederror reads a predicted error, which these heads do not give"]


CONFIDENCE = "eat_lightning.methods.exit.confidence.Confidence"


@pytest.mark.filterwarnings("ignore")
def test_a_multi_label_folder_of_transformers_is_opened_as_one(tmp_path: Path):
    from transformers import BertConfig, BertForSequenceClassification

    from eat_lightning.weights.hf import EatForSequenceClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "vocab_size": 60, "num_labels": 3}
    theirs = BertForSequenceClassification(BertConfig(**sizes, problem_type=MULTI)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = EatForSequenceClassification.from_pretrained(tmp_path / "theirs")
    assert ours.encoder.kind.problem_type == ours.config.problem_type == MULTI
    ids = torch.randint(5, 60, (2, 7))
    wanted = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    with torch.inference_mode():
        expected, found = theirs(ids, labels=wanted), ours(ids, labels=wanted)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=0)
    ours.save_pretrained(tmp_path / "ours")
    again = EatForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert again.encoder.kind == ours.encoder.kind
