"""Several labels and scores, from a classifier of transformers to a gateway's answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.adapting import made_up_times, plan_of
from helpers.classifiers import drawn_texts, save_classifier
from helpers.finished import config_of, refused

from eat_lightning import text_io
from eat_lightning.config import parsed
from eat_lightning.deploy.adapt import run as steps
from eat_lightning.deploy.adapt import search
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.engines.open import open_backend
from eat_lightning.engines.original import Original
from eat_lightning.infer.backend import Backend
from eat_lightning.record.same_answer import same_answer_of

NAMES = {0: "joy", 1: "fear", 2: "anger"}
MODELS: dict[str, dict[str, Any]] = {
    "labels": {"id2label": NAMES, "problem_type": "multi_label_classification"},
    "scores": {"id2label": {0: "LABEL_0"}, "problem_type": "regression"},
}
WORDS = {
    "labels": ["agree=0.8"],
    "scores": ["agree=0.8", "tolerance=0.6", "least_steps=100"],
}


def save(folder: Path, kind: str) -> Path:
    names = MODELS[kind]["id2label"]
    return save_classifier(folder, **MODELS[kind], label2id={v: k for k, v in names.items()})


@pytest.fixture(scope="module", params=MODELS)
def adapted(
    request: pytest.FixtureRequest, texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> AdaptResult:
    root = tmp_path_factory.mktemp(request.param)
    model = save(root / "model", request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "time_all", made_up_times)
        return steps.adapt(plan_of(model, texts, root / "adapted", *WORDS[request.param]))


@pytest.fixture(scope="module")
def backend(adapted: AdaptResult) -> Backend:
    given = config_of("predict", f"run='{adapted.plan.to}'")
    return open_backend(parsed(PredictSettings, given))


def is_same(answer: dict[str, Any], original_C: np.ndarray, tolerance: float | None) -> bool:
    if tolerance is not None:
        return abs(answer["score"] - original_C[0]) <= tolerance
    return answer["labels"] == [NAMES[c] for c in np.flatnonzero(original_C > 0).tolist()]


def test_it_answers_as_certified(adapted: AdaptResult, backend: Backend):
    """The original's answers are transformers' own; changes are counted from what is printed."""
    split, chosen = adapted.splits["certify"], adapted.chosen
    assert chosen.point is not None
    texts = [list(split.text(i)) for i in range(len(split))]
    answers, original_NC = backend.answer(texts), adapted.original_answers["certify"]
    changed = sum(
        not is_same(answer, original_C, adapted.plan.tolerance)
        for answer, original_C in zip(answers, original_NC, strict=True)
    )
    (count,) = chosen.tested or []
    assert 0 < changed == count.changed <= count.allowed
    assert np.mean([a["depth"] for a in answers]) < backend.num_layers


def test_transformers_face_answers_as_certified(adapted: AdaptResult, backend: Backend):
    from transformers import AutoTokenizer

    from eat_lightning.infer.hf import EatForSequenceClassification

    texts = drawn_texts(40, seed=7)
    model = EatForSequenceClassification.from_pretrained(adapted.plan.to)
    tokenizer = AutoTokenizer.from_pretrained(adapted.plan.to)
    with torch.inference_mode():
        out = model(**tokenizer(texts, padding=True, return_tensors="pt"))
    answers = backend.answer([[text] for text in texts])
    assert out.depth.tolist() == [answer["depth"] for answer in answers]
    assert all(
        is_same(answer, logits_C.numpy(), adapted.plan.tolerance and 1e-4)
        for answer, logits_C in zip(answers, out.logits, strict=True)
    )


def test_a_gateway_gives_the_same_answer(adapted: AdaptResult, backend: Backend):
    pytest.importorskip("fastapi")
    from helpers.gateways import without_scores

    from eat_lightning.deploy.serve.body import RequestExample
    from eat_lightning.deploy.serve.model import open_model
    from eat_lightning.deploy.serve.plan import ServeSettings

    model = open_model(parsed(ServeSettings, config_of("serve", f"run='{adapted.plan.to}'")))
    [(_, [answer])] = without_scores(model.stream([RequestExample(["a text"])]))
    assert answer == backend.answer([["a text"]])[0]
    assert model.about.problem_type == adapted.original.same.kind.problem_type


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("scores", {}, "it answers with a score: give tolerance=... within which"),
        ("scores", {"cuts": [0.5]}, None),
        ("labels", {"tolerance": 0.5}, "tolerance=0.5 is for a score"),
        ("labels", {"cuts": [0.5]}, "cuts=[0.5] is for a score"),
    ],
)
def test_scores_need_a_bound_and_labels_none(kind, words, message, tmp_path: Path):
    folder = save(tmp_path / "model", kind)
    if message is None:
        assert Original.open(str(folder), **words).same.changes == "scores change sides of 0.5"
        return
    assert message in refused(Original.open, str(folder), **words)


def test_sameness_by_hand():
    labels = same_answer_of({"problem_type": "multi_label_classification"}, 2, "x")
    original_NC, others_NC = np.array([[1.0, -1], [2, 3]]), np.array([[0.1, -9], [2, -3]])
    assert labels.changed(original_NC, others_NC).tolist() == [False, True]
    groups = labels.groups(original_NC)
    assert [groups[name].tolist() for name in labels.labels] == [[True, True], [False, True]]
    assert labels.shown(np.array([2.0, -3.0])) == "LABEL_0 (0.88)"
    cut = same_answer_of({}, 1, "x", cuts=[2.5])
    scores_NC, others_NC = np.array([[2.4], [2.6], [2.5]]), np.array([[0.0], [2.4], [9.0]])
    assert cut.changed(scores_NC, others_NC).tolist() == [False, True, False]
    assert cut.shown(np.array([2.4, 0.1])) == "2.400"  # beside a score stands its error


def test_a_predicted_error_is_no_refusal(capsys: pytest.CaptureFixture[str]):
    answers = [{"score": 1.5, "error": 0.2}, {"line": 2, "error": "no text"}]
    assert text_io.write(answers) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2
