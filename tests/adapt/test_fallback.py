"""Texts of which a lower precision is least sure are answered again in a higher one: which points
are tried, what is chosen, and the folder that answers so."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.adapting import adapted_by, check_reference, plan_of, taken

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.bundle import kernels, run_graphs
from eat_lightning.bundle.adapted import AboutAdapted
from eat_lightning.bundle.hf import EatForSequenceClassification
from eat_lightning.bundle.kernels import encoder_of
from eat_lightning.bundle.model import Model
from eat_lightning.deploy.adapt.cascade import FirstModel
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.search import COLD, ROOMS, Bench, Leaving, Search
from eat_lightning.deploy.serve.model import ServedModel, check_answers
from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.smoothing import factors_in, set_factors, smoothed_layers
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.same_answer import SameAnswer
from eat_lightning.weights.factors import FACTORS, save_factors

SHIFT = 0.25  # of the first class's logit in the "int8" of these tests
WORDS = {
    "static": ["heads.enabled=false"],
    "exits": ["heads.epochs=[8]"],
    "windows": [*("max_length=12", "long=windows", "windows.label=yes", "windows.overlap=4")],
}
MS = {"transformers": 20.0, "again": 4.0, "fp32": 10.0, "bf16": 30.0, "exits": 2.0, "int8": 3.0}


def shifted(encoder: AdaptiveEncoder, dtype: str) -> AdaptiveEncoder:
    """In place of int8, an encoder whose last head prefers the first class a little: it changes the
    answers near the boundary, on any processor alike."""
    if dtype != "int8":
        return encoder
    made = copy.deepcopy(encoder)
    last: Any = made.heads[str(made.shape.num_layers)]
    with torch.no_grad():
        last.classes.bias[0] += SHIFT
    return made


def made_up(candidates: dict[str, Any], **_: Any) -> Any:
    """Times by the first word of `MS` in a key."""
    yield {key: taken(next(ms for word, ms in MS.items() if word in key)) for key in candidates}


@pytest.fixture(scope="module")
def patched() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "in_dtype", shifted)
        yield


@pytest.fixture(scope="module", params=["static", "exits", "windows"])
def adapted(
    request: Any, patched: None, classifier: Path, texts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AdaptResult:  # fmt: skip
    to = tmp_path_factory.mktemp("again") / "to"
    return adapted_by(made_up, plan_of(classifier, texts, to, *WORDS[request.param]))


def test_a_lower_precision_is_let_in_by_a_higher_one(adapted: AdaptResult):
    """By itself it changes too many answers; with those answered again it is certified."""
    chosen, int8 = adapted.chosen, Point.whole(dtype="int8")
    alone = next(c for c in adapted.candidates if c.point == int8)
    assert not alone.counts[0].holds
    assert (chosen.point.dtype, chosen.point.before.dtype) == ("fp32", "int8")  # type: ignore[union-attr]
    assert chosen.point.falls_back
    assert chosen.holds
    assert chosen.ms["1"] == MS["again"]


def test_a_line_says_how_many_are_answered_again(
    adapted: AdaptResult, capsys: pytest.CaptureFixture[str]
):
    num = int((adapted.trace.depth_B > 2).sum())
    share = f"{100 * num / 360:.1f} % ({num} of 360)"
    assert adapted.again == f"Answered again in fp32: {share}, those of which int8 is least sure."
    folder = Path(adapted.plan.to)
    assert adapted.again in (folder / "README.md").read_text()
    assert "Answered again in fp32" in (folder / "page.html").read_text()
    assert "% answered again in fp32" in adapted.won


def test_the_folder_answers_as_certified(adapted: AdaptResult):
    """Who leaves, who stands and who is answered again is the same live, with the same answer."""
    backend, split = Model.open(adapted.plan.to, check=True), adapted.splits["certify"]
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    assert [answer["depth"] for answer in answers] == adapted.trace.depth_B.tolist()
    labels = adapted.original.same.labels
    assert [labels.index(answer["label"]) for answer in answers] == (
        adapted.trace.logits_BC.argmax(1).tolist()
    )
    reasons = {(answer["depth"], answer["exit_reason"]) for answer in answers}
    exits = {(k, "confident") for k in (0, 1)} if adapted.chosen.point.has_exits else set()
    assert {(2, "last_layer_sure"), (4, "answered_again")} <= reasons
    assert reasons <= {(2, "last_layer_sure"), (4, "answered_again"), *exits}
    assert backend.num_layers == 4


def test_on_demand_the_higher_precision_answers_all(adapted: AdaptResult):
    backend, split = Model.open(adapted.plan.to), adapted.splits["certify"]
    texts = [list(split.text(i)) for i in range(20)]
    trace = Trace.together([*backend.stream(texts, deep=True)])
    original_NC = adapted.original_answers["certify"][:20]
    assert trace.logits_BC.argmax(1).tolist() == original_NC.argmax(1).tolist()


def test_a_gateway_opens_what_answers_again_before_the_first_request(
    adapted: AdaptResult, monkeypatch: pytest.MonkeyPatch
):
    """By one text and by two, whose graphs are other ones, though neither is unsure."""
    backend: Any = Model.open(adapted.plan.to)
    backend.escalation = replace(backend.escalation, margin=0.0)
    large, asked = backend.large, list[int]()
    stream = large.stream

    def noting(texts: Any, *given: Any, **more: Any) -> Any:
        asked.append(len(texts))
        return stream(texts, *given, **more)

    monkeypatch.setattr(large, "stream", noting)
    check_answers(ServedModel(backend, None))
    assert {1, 2} <= {*asked}


def test_drift_is_watched_as_of_one_model(adapted: AdaptResult):
    """Its observations are the same where the higher precision answers all."""
    check_reference(adapted)


def test_weights_lie_there_once(adapted: AdaptResult):
    """Both precisions are made of the original's weights as the folder is opened."""
    found = [path.parent.name for path in Path(adapted.plan.to).rglob("model.safetensors")]
    assert sorted(found) == ["exits", "to"][not adapted.chosen.point.has_exits :]


def test_another_margin_than_the_certified_is_refused(adapted: AdaptResult, tmp_path: Path):
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    about = json.loads((folder / "bundle.json").read_text())
    about["point"]["margin"] = 0.0
    (folder / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match="its point are not those it was certified with"):
        Model.open(folder)


def test_other_factors_than_the_certified_are_refused(adapted: AdaptResult, tmp_path: Path):
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    encoder = encoder_of(folder, adapted.original.same.kind, 1, adapted.original.tokenizer)
    factors = factors_in(encoder)
    assert factors.keys() == smoothed_layers(encoder).keys()
    next(iter(factors.values())).mul_(2)
    set_factors(encoder, factors)
    save_factors(encoder, folder)
    with pytest.raises(ConfigError, match="its int8 factors are not those"):
        Model.open(folder)
    (folder / FACTORS).unlink()
    with pytest.raises(ConfigError, match="its int8 factors"):
        Model.open(folder)


@pytest.mark.filterwarnings("ignore:.* has no exits")
def test_transformers_class_has_the_factors(adapted: AdaptResult, tmp_path: Path):
    """Also after it was saved; with fewer layers than they are of, it opens without them."""
    given = EatForSequenceClassification.from_pretrained(adapted.plan.to)
    factors = factors_in(given.encoder)
    assert factors
    given.save_pretrained(tmp_path / "saved")
    again = EatForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert {name: x.tolist() for name, x in factors_in(again.encoder).items()} == {
        name: x.tolist() for name, x in factors.items()
    }
    if not adapted.chosen.point.has_exits:
        short = EatForSequenceClassification.from_pretrained(adapted.plan.to, num_layers=1)
        assert factors_in(short.encoder) == {}


def test_earlier_versions_refuse_a_folder_with_factors(adapted: AdaptResult, tmp_path: Path):
    """They know format 1 alone, and would ignore the factors."""
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    about = json.loads((folder / "bundle.json").read_text())
    assert about["format"] == 2
    (folder / "bundle.json").write_text(json.dumps(about | {"format": 3}))
    with pytest.raises(ConfigError, match="format must be 1 or 2, got 3"):
        AboutAdapted.read(folder)


def test_three_precisions_in_a_row_are_refused_in_one_line(adapted: AdaptResult, tmp_path: Path):
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    about = json.loads((folder / "bundle.json").read_text())
    about["point"]["before"] |= {"before": dict(about["point"]["before"])}
    (folder / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match="at most one before it") as error:
        AboutAdapted.read(folder)
    assert "\n" not in str(error.value)


# By hand: 400 texts of two classes, all of the first. A share of 0.01 are four of them.
KIND = SingleLabel(2)
SIZE, ORIGINAL = 400, np.tile([9.0, 0.0], (400, 1))


def of_margins(margin_N: np.ndarray, changed: int) -> np.ndarray:
    """Logits with these margins, of which the first have the other class."""
    first_N = np.where(np.arange(len(margin_N)) < changed, 1 - margin_N, 1 + margin_N) / 2
    return np.log(np.stack([first_N, 1 - first_N], 1))


INT8 = of_margins(np.linspace(0.001, 0.4, SIZE), changed=16)  # the 16 least sure are changed


class HandMade(Search):
    """Forms whose answers are known: int8 takes 4 ms, fp32 10 and changes nothing."""

    def trace(self, candidate: Measured, part: str) -> Trace:
        logits = INT8 if candidate.point.dtype == "int8" else ORIGINAL
        return Trace(logits, np.full(SIZE, 2))

    def leaving(self, static: Point) -> list[Leaving]:
        """At one exit the surest half leaves, at another point everybody."""
        half_N = np.where(np.arange(SIZE) < 200, 2, 1)
        wrong = of_margins(np.full(SIZE, 0.5), changed=SIZE)
        rule = [
            Specification("exit", "confidence", {"tau": [t], "layers": [1]}) for t in (0.6, 0.5)
        ]
        return [
            Leaving(rule[0], Trace(INT8, half_N)),
            Leaving(rule[1], Trace(wrong, np.ones(SIZE, int))),
        ]


def by_hand(level: float) -> tuple[HandMade, list[Measured]]:
    unused: Any = None
    forms: Any = SimpleNamespace(num_layers=2, original=SimpleNamespace(same=SameAnswer(KIND, [])))
    same, parts = SameAnswer(KIND, ["no", "yes"]), {"select": ORIGINAL, "certify": ORIGINAL}
    claims = [Claim("disagreement", level, 0.95)]
    search = HandMade(forms, same, claims, parts, parts, unused, 1, 1, {}, bench=Bench(guess=0.0))
    statics = [Measured(Point.whole(), ms={"1": 10.0}), Measured(LOW, ms={"1": 4.0})]
    for each in statics:
        search.judge(each)
    return search, statics


LOW = Point.whole(dtype="int8")


def test_margins_below_which_a_share_goes_on():
    forms: Any = SimpleNamespace(num_layers=2, original=SimpleNamespace(same=SameAnswer(KIND, [])))
    first = FirstModel(forms, LOW, {}, Trace(INT8, np.full(SIZE, 2)))
    found = dict(first.answering_again())
    assert found[0.0] == 0.0
    assert found[0.01] == pytest.approx(0.0045, abs=1e-5)  # margins of 0.001 to 0.004 are below
    assert list(found) == sorted(found)
    half = replace(first, trace=Trace(INT8, np.where(np.arange(SIZE) < 4, 2, 1)))
    assert 0.01 not in dict(half.answering_again())  # no fifth gets there


def test_the_least_time_is_chosen_for_each_chance():
    """Half of the texts leave at layer 1, so that the first pass takes 1.5 of 2 layers, or 3 ms.
    Where 5 % may change, 3, 6 and 11 of 400 leave chances of 0.99, 0.9 and 0.6. Of the 16 changed
    ones, 16, 12 and 6 are answered again for that, and 0, 4 and 10 stay changed."""
    search, statics = by_hand(0.05)
    found = [c for _, c in sorted(search.expected(statics[1], statics).items(), reverse=True)]
    assert [c.counts[0].changed for c in found] == [0, 4, 10]
    assert [c.share for c in found] == pytest.approx([0.96, 0.97, 0.985])
    assert [c.depth for c in found] == pytest.approx([1.5 + 2 * (1 - c.share) for c in found])
    # The form of 10 ms takes twice as long where it answers now and then.
    assert [c.cost for c in found] == pytest.approx([3 + 20 * (1 - c.share) for c in found])
    assert [c.point.before for c in found] == [LOW.at(exit=search.leaving(LOW)[0].exit)] * 3
    assert [c.point.alone for c in found] == [Point.whole()] * 3
    alone = search.expected(statics[1], statics, exits=False)
    assert [(alone[room].share, alone[room].point.before) for room in ROOMS] == [
        (c.share, LOW) for c in found
    ]


@pytest.mark.parametrize(("both_ms", "wanted"), [(5.5, 1.5), (4.9, 1.0), (None, COLD)])
def test_the_cost_of_an_answer_again_is_measured_once(both_ms: float | None, wanted: float):
    """int8 takes 4 ms, and 5.5 where fp32 answers 40 of 400 texts again: 15 ms for each of these,
    1.5 times the 10 ms of fp32 alone. It never costs less than alone, and where that cannot run,
    the cautious value stays."""
    search, statics = by_hand(0.05)
    search.bench, timed = Bench(), []

    def time(name: str, candidates: Any, most: Any = None) -> None:
        timed.append([(c.point.dtype, c.point.falls_back) for c in candidates])
        for candidate, ms in zip(candidates, (4.0, 10.0, both_ms), strict=True):
            candidate.ms = {} if ms is None else {"1": ms}

    search.time = time
    high, low = statics
    answers = search.trace(high, "select")
    assert search.cold(low, high, answers) == pytest.approx(wanted)
    assert search.cold(low, high, answers) == pytest.approx(wanted)
    assert timed == [[("int8", False), ("fp32", False), ("fp32", True)]]
    found = search.expected(low, statics, exits=False)
    for made in found.values():
        assert made.cost == pytest.approx(4 + 10 * wanted * (1 - made.share))


def test_none_is_tried_where_it_is_no_faster_without():
    """At 20 % int8 holds by itself; a form hardly faster than fp32 is none to begin with; and
    nothing is above fp32."""
    search, statics = by_hand(0.2)
    assert search.expected(statics[1], statics, exits=False) == {}
    search, statics = by_hand(0.05)
    statics[1].ms = {"1": 9.9}
    assert search.expected(statics[1], statics, exits=False) == {}
    assert search.higher(statics[0], statics) is None
    assert search.for_fallback(statics) == statics[1:]


@pytest.mark.slow
def test_in_an_engine(
    patched: None, classifier: Path, few_texts: Path, tmp_path: Path, monkeypatch: Any
):
    """Graphs of both precisions lie in the folder, which opens with both."""
    pytest.importorskip("onnxscript")
    made = run_graphs.kept_export
    monkeypatch.setattr(
        run_graphs, "kept_export",
        lambda run, encoder, labels, dtype: made(run, shifted(encoder, dtype), labels, dtype),
    )  # fmt: skip

    def in_onnx(candidates: dict[str, Any], **_: Any) -> Any:
        yield {
            key: taken(next(ms for word, ms in MS.items() if word in key) * (1 + ("torch" in key)))
            for key in candidates
        }

    result = adapted_by(
        in_onnx, plan_of(classifier, few_texts, tmp_path / "to", "engines=[onnx]", "agree=0.85")
    )
    point, folder = result.chosen.point, tmp_path / "to"
    assert point.before is not None
    assert (point.engine, point.before.engine) == ("onnx", "onnx")
    assert {path.name for path in (folder / "graphs").iterdir()} == {"onnx-fp32", "onnx-int8"}
    assert (folder / "model.onnx").is_file()
    test_the_folder_answers_as_certified(result)
    numbers = (folder / "graphs" / "onnx-int8" / "weights.bin").read_bytes()
    (folder / "graphs" / "onnx-int8" / "weights.bin").write_bytes(numbers[:-1] + b"x")
    with pytest.raises(ConfigError, match="its first graphs are not those"):
        Model.open(folder)
