"""What an adapted folder answers is what was certified, whatever was adapted: classes, labels,
scores, pairs, long texts and cascades; in Python, in a gateway, and in transformers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.adapting import (
    adapted_by,
    cascades_are_fastest,
    check_reference,
    made_up_times,
    plan_of,
    taken,
)
from helpers.classifiers import LABELS, drawn_texts, save_classifier
from helpers.finished import config_of
from helpers.gateways import without_scores
from helpers.without_torch import predicted

import eat_lightning
from eat_lightning.bundle.model import Model
from eat_lightning.config import parsed
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.plan import A_LIST
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.record.timing import time_all
from eat_lightning.weights.exits import exits_beside

NAMES = {0: "joy", 1: "fear", 2: "anger"}
MANY = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
SCORE = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}, "problem_type": "regression"}
SETS = "multi_label_classification"
FEW = "agree=0.8", "max_length=12"  # of few texts, of which ten words fit
WINDOWS = "long=windows", "windows.label=yes", "windows.overlap=4"
Times = Callable[..., Iterator[Mapping[str, Any]]]


def timed_and_made_up(candidates: dict[str, Any], **how: Any) -> Iterator[Mapping[str, Any]]:
    """Time whole texts, and tell times that do not depend on this machine."""
    *_, found = time_all(candidates, **how)
    assert found.keys() == candidates.keys()
    yield from made_up_times(candidates)


@dataclass(frozen=True)
class Case:
    """A classifier (None: the one of two classes), the settings of its adaptation, and times."""

    words: tuple[str, ...]
    model: dict[str, Any] | None = None
    few: bool = False
    timed: Times = made_up_times
    reads_all: bool = False  # long texts too, or by two models
    drifts: bool = True  # is watched for drift


CASES = {
    "classes": Case(("agree=0.9",)),
    "labels": Case(("agree=0.8",), MANY | {"problem_type": SETS}, drifts=False),
    "scores": Case(("agree=0.8", "tolerance=0.6", "least_steps=100"), SCORE, drifts=False),
    "windows any": Case((*FEW, *WINDOWS), few=True, timed=timed_and_made_up, reads_all=True),
    "windows mean": Case(
        ("agree=0.7", *FEW[1:], *WINDOWS, "windows.join=mean"), few=True, reads_all=True
    ),
    "refuse": Case((*FEW, "long=refuse"), few=True, reads_all=True),
    "cut": Case((*FEW, "long=cut"), few=True, reads_all=True),
    "cascade": Case(
        ("heads.enabled=false", "agree=0.8"),
        timed=cascades_are_fastest,
        reads_all=True,
        drifts=False,
    ),
}
SLOW = ("windows mean",)


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.slow if n in SLOW else []) for n in CASES],
)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@dataclass(frozen=True)
class Made:
    """What was adapted, what was printed, and the folder as `predict` opens it."""

    result: AdaptResult
    said: str

    def opened(self, *words: str) -> Model:
        config = config_of("predict", f"run='{self.result.plan.to}'", *words)
        return parsed(PredictSettings, config).open()


@pytest.fixture(scope="module")
def made(
    name: str, classifier: Path, request: pytest.FixtureRequest, tmp_path_factory: Any
) -> Made:
    case, root = CASES[name], tmp_path_factory.mktemp("made")
    if name == "classes":
        return Made(request.getfixturevalue("adapted"), "")
    model = classifier if case.model is None else save_classifier(root / "model", **case.model)
    words = list(case.words)
    if name == "cascade":  # the large model with a shorter way: they agree where it is sure
        words.append(f"small='{save_classifier(root / 'small', num_hidden_layers=1)}'")
    texts = request.getfixturevalue("few_texts" if case.few else "texts")
    with redirect_stdout(StringIO()) as said:
        result = adapted_by(case.timed, plan_of(model, texts, root / "adapted", *words))
    return Made(result, said.getvalue())


@pytest.fixture(scope="module")
def backend(made: Made) -> Model:
    return made.opened()


@pytest.fixture(scope="module")
def answers(made: Made, backend: Model) -> list[dict[str, Any]]:
    """Of the texts of the certificate."""
    split = made.result.splits["certify"]
    return backend.answer([list(split.text(i)) for i in range(len(split))])


def is_same(answer: dict[str, Any], original_C: np.ndarray, within: float | None) -> bool:
    """Whether an answer as it is printed is the original's."""
    if "score" in answer:
        return abs(answer["score"] - original_C[0]) <= (within or 0.0)
    if "labels" in answer:
        return answer["labels"] == [NAMES[c] for c in np.flatnonzero(original_C > 0).tolist()]
    return answer["label"] == LABELS[original_C.argmax()]


def test_it_answers_as_certified(made: Made, backend: Model, answers: list[dict[str, Any]]):
    """The original's answers are transformers' own; changes are counted from what is printed."""
    result, original_NC = made.result, made.result.original_answers["certify"]
    pairs = zip(answers, original_NC, strict=True)
    changed = sum(not is_same(*pair, result.plan.tolerance) for pair in pairs)
    (count,) = result.chosen.tested or []
    assert (count.num, changed) == (len(answers), count.changed)
    assert changed <= count.allowed
    assert eat_lightning.load(Path(result.plan.to)).certificate.tallies[0].changed == changed
    depths = [answer["depth"] for answer in answers]
    assert depths == result.trace.depth_B.tolist()
    assert np.mean(depths) < backend.num_layers


def test_drift_is_compared_with_the_texts_of_the_certificate(name: str, made: Made):
    if not CASES[name].drifts:
        pytest.skip("drift is of one model's classes")
    check_reference(made.result)


def test_transformers_face_answers_as_certified(name: str, made: Made, backend: Model):
    if CASES[name].reads_all:
        pytest.skip("it reads what fits, with the large model")
    from transformers import AutoTokenizer

    from eat_lightning.bundle.hf import EatForSequenceClassification

    texts = drawn_texts(40, seed=7)
    model = EatForSequenceClassification.from_pretrained(made.result.plan.to)
    tokenizer = AutoTokenizer.from_pretrained(made.result.plan.to)
    with torch.inference_mode():
        out = model(**tokenizer(texts, padding=True, return_tensors="pt"))
    answers = backend.answer([[text] for text in texts])
    assert out.depth.tolist() == [answer["depth"] for answer in answers]
    logits_BC = out.logits.numpy()
    assert all(is_same(*pair, 1e-4) for pair in zip(answers, logits_BC, strict=True))


def test_a_gateway_gives_the_same_answer(made: Made, backend: Model):
    pytest.importorskip("fastapi")
    from eat_lightning.deploy.serve.body import RequestExample
    from eat_lightning.deploy.serve.model import open_model
    from eat_lightning.deploy.serve.plan import ServeSettings

    config = config_of("serve", f"run='{made.result.plan.to}'")
    model = open_model(parsed(ServeSettings, config))
    [(_, [answer])] = without_scores(model.stream([RequestExample(["a text"])]))
    assert answer == backend.answer([["a text"]])[0]
    assert model.about.problem_type == made.result.original.same.kind.problem_type


def test_long_texts_are_read_as_they_were_certified(
    name: str, made: Made, answers: list[dict[str, Any]], few_texts: Path, capsys: Any
):
    if not CASES[name].few:
        pytest.skip("its texts all fit")
    [longer] = made.opened().answer([["good " * 11]])
    num_long = sum(len(text.split()) > 10 for text in few_texts.read_text().splitlines())
    if name == "refuse":
        assert f"{num_long} too long (long=cut takes the first, long=windows all)" in made.said
        assert longer["error"].startswith("a text must have at most 12 tokens, got ")
    elif name == "cut":
        assert "cut at 12 tokens" in made.said
        assert any(answer["truncated"] for answer in answers)
        assert longer["truncated"]
    else:
        join, full = name.split()[1], made.result.original.num_layers
        how = f"in windows of 12 tokens, 4 shared, {join} of yes"
        assert how in made.said
        assert f"{how} |" in Path(made.result.plan.to, "README.md").read_text()
        assert {answer["windows"] for answer in answers} == {1, 2}
        found = [a for a in answers if a["windows"] == 2 and a["label"] == "yes"]
        assert join != "any" or {a["depth"] for a in found} == {full}  # what is found runs whole
        assert "error" in made.opened("long=refuse").answer([["good " * 11]])[0]
        noted = "the certificate is for long=windows, and long=refuse is named"
        assert noted in capsys.readouterr().err


def test_two_texts_leave_by_how_their_tokens_match(classifier: Path, tmp_path: Path):
    pairs = [*zip(drawn_texts(500, seed=1), drawn_texts(500, seed=2), strict=True)]
    plan = plan_of(classifier, A_LIST, tmp_path / "to", "agree=0.8")
    found = eat_lightning.load(Path(adapted_by(made_up_times, plan, pairs).plan.to))
    assert exits_beside(found.folder)["head"]["kind"] == "aligned"
    together = found.classify(pairs[:40])
    assert min(answer["depth"] for answer in together) < 2
    alone = [found.classify([pair])[0] for pair in pairs[:40]]
    same = [
        (a["label"], a["depth"]) == (b["label"], b["depth"])
        for a, b in zip(alone, together, strict=True)
    ]
    assert sum(same) >= 36  # where bf16 was chosen a batch's rounding moves who is at the threshold


def onnx_is_fastest(candidates: dict[str, Any], **_: Any) -> Iterator[Mapping[str, Any]]:
    """Static forms of onnxruntime take 4 ms, its exits 1, everything else 10."""
    yield {
        key: taken((1.0 if "exits" in key else 4.0) if "onnx" in key else 10.0)
        for key in candidates
    }


@pytest.mark.slow
def test_exits_in_onnxruntime(classifier: Path, texts: Path, tmp_path: Path):
    """And the graph in the form that others expect."""
    pytest.importorskip("onnxscript")
    import onnxruntime
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    given = "engines=[onnx]", "agree=0.8"  # the safest exits must save 0.2 layers to be tried
    folder = tmp_path / "adapted"
    made = adapted_by(onnx_is_fastest, plan_of(classifier, texts, folder, *given))
    backend, split = Model.open(folder), made.splits["certify"]
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    pairs = zip(answers, made.original_answers["certify"], strict=True)
    assert sum(not is_same(*pair, None) for pair in pairs) == made.chosen.tested[0].changed  # type: ignore[index]
    assert np.mean([answer["depth"] for answer in answers]) < backend.num_layers

    tokenizer, five = AutoTokenizer.from_pretrained(folder), drawn_texts(5, seed=3)
    found, _ = predicted(f"run='{folder}'", lines=five)  # without torch
    assert found == backend.answer([[text] for text in five])
    ids = [[*read.windows[0].ids] for read in backend.reader([[text] for text in five])]
    assert ids == tokenizer(five)["input_ids"]

    inputs = tokenizer(five, padding=True, return_tensors="pt")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)(**inputs).logits
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    feeds = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
    (logits,) = session.run(["logits"], feeds)
    np.testing.assert_allclose(logits, theirs.detach().numpy(), atol=1e-4)
