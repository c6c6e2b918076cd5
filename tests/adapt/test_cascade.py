"""A small classifier before the large one, from the command to predict and a gateway."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.adapting import adapted_by, cascades_are_fastest, plan_of
from helpers.classifiers import LABELS, save_classifier
from helpers.finished import config_of, refused

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.bundle.cascade import CascadeModel
from eat_lightning.config import parsed
from eat_lightning.deploy.adapt import cascade
from eat_lightning.deploy.adapt import run as steps
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.forms import Deployed
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.errors import ConfigError
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace
from eat_lightning.record.point import Point


@pytest.fixture(scope="module")
def adapted(classifier: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> AdaptResult:
    """The small model is the large one with a shorter way: their answers agree where it is sure."""
    root = tmp_path_factory.mktemp("cascade")
    small = save_classifier(root / "small", num_hidden_layers=1)
    words = f"small='{small}'", "heads.enabled=false", "agree=0.8"
    plan = plan_of(classifier, texts, root / "adapted", *words)
    return adapted_by(cascades_are_fastest, plan)


def test_answers_say_which_model_gave_them(adapted: AdaptResult):
    plan = parsed(PredictSettings, config_of("predict", f"run='{adapted.plan.to}'"))
    backend, split = plan.open(), adapted.splits["certify"]
    assert isinstance(backend, CascadeModel)
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    reasons = {(answer["depth"], answer["exit_reason"]) for answer in answers}
    # One layer of the small model; two more of the large one.
    assert reasons == {(1, "small_model_sure"), (3, "last_layer")}
    assert {answer["retention"] for answer in answers} == {1.0}


def test_on_demand_the_large_model_answers_all(adapted: AdaptResult):
    plan = parsed(PredictSettings, config_of("predict", f"run='{adapted.plan.to}'"))
    split, backend = adapted.splits["certify"], plan.open()
    texts = [list(split.text(i)) for i in range(20)]
    traces = backend.stream(texts, deep=True)
    answers = [a for trace in traces for a in backend.printed(trace).values()]
    assert {answer["exit_reason"] for answer in answers} == {"fallback"}
    assert [answer["label"] for answer in answers] == [
        LABELS[number] for number in adapted.original_answers["certify"][:20].argmax(-1)
    ]


def test_a_changed_small_model_is_refused(adapted: AdaptResult, tmp_path: Path):
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    about = folder / "before" / "bundle.json"
    about.write_text(about.read_text().replace('"max_length"', ' "max_length"'))
    plan = parsed(PredictSettings, config_of("predict", f"run='{folder}'"))
    with pytest.raises(ConfigError, match="its small model are not those it was certified with"):
        plan.open()


def test_other_weights_of_the_small_model_are_refused(adapted: AdaptResult, tmp_path: Path):
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    with (folder / "before" / "model.safetensors").open("ab") as file:
        file.write(b" ")
    plan = parsed(PredictSettings, config_of("predict", f"run='{folder}'"))
    with pytest.raises(ConfigError, match="its small weights are not those it was certified with"):
        plan.open()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id2label": {0: "yes", 1: "no"}}, "a cascade needs the same, in the same order"),
        ({"problem_type": "multi_label_classification"}, "a cascade needs the same"),
        ({"id2label": {0: "no", 1: ""}}, "small={}: id2label must name each of 2 classes"),
    ],
)
def test_what_cannot_be_first_is_one_line(settings, message, classifier, texts, tmp_path: Path):
    small = save_classifier(tmp_path / "small", **settings)
    assert message.format(small) in refused(
        steps.adapt, plan_of(classifier, texts, tmp_path / "to", f"small='{small}'")
    )


def test_the_large_model_runs_on_those_left_and_in_what_is_timed():
    """By hand: margins of 0.9 and 0.6 are 0.8 and 0.2, of which 0.5 lets the first stand."""
    small_NC = np.log(np.array([[0.9, 0.1], [0.4, 0.6]]))
    given, asked = [], []

    def small(_: Point, threads: int | None) -> Deployed:
        asked.append(threads)
        return Deployed(lambda b: Trace(small_NC, np.full(2, 6)), same, same)

    def large_run(batch: Batch) -> Trace:
        given.append(batch.ids_N.tolist())
        return Trace(np.array([[7.0, 0.0]]), np.array([12]))

    first: Any = SimpleNamespace(
        deployed=small,
        original=SimpleNamespace(same=SimpleNamespace(kind=SingleLabel(2))),
        num_layers=6,
    )
    unused: Any = None
    model = cascade.FirstModel(first, Point.whole(weights="small"), unused)
    pair = Batch.from_lists([[1], [2]]), Batch.from_lists([[3, 4], [5, 6]])
    point = replace(Point.whole(), before=model.point, margin=0.5)
    passed = model.then(Deployed(large_run, same, same), point, 12, 4).answers(pair)
    assert asked == [4]
    assert given == [[5, 6]]
    np.testing.assert_allclose(passed.logits_BC, [small_NC[0], [7.0, 0.0]])
    assert passed.depth_B.tolist() == [6, 18]


def same(value: Any) -> Any:
    return value
