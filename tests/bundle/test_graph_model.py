"""An export with policies on top of its graphs' exits answers as its run with them does."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exports import shared_export
from helpers.finished import config_of, refused, started

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.onnx_runner import Runner
from eat_lightning.bundle.sessions import ENGINES
from eat_lightning.bundle.stricter_exits import StricterExits
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.predict.command import predict
from eat_lightning.deploy.predict.explain import explained
from eat_lightning.long_texts import JOINS, LongTexts
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.methods.policy.min_retention import MinRetention
from eat_lightning.methods.policy.per_source import PerSource
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.reason import FIRST_REASON, Reason

pytest.importorskip("onnxscript")
FREE = {"tau": None, "layers": None, "patience": None}
TEXTS = [
    [" ".join(["good", "bad", "film", "not", "very", "the"][i % 5 : 1 + i % 6])] for i in range(30)
]
SOURCES = ["mail", "web", None, "web-2"]
ABOUT = [
    {k: v for k, v in (("source", SOURCES[i % 4]), ("mime", "text/plain")) if v} for i in range(30)
]
POLICIES = [
    Veto(0.5),
    PerSource({"mail": 0.9, "web": [0.8, 0.7], "web-2": 0.6}),
    PerSource({"mail": 0.99}, strict=False),
    FullDepth(sources=["web*"]),
    FullDepth(mimes=["image/*"]),
]
LISTS = [*([policy] for policy in POLICIES), POLICIES[:2], POLICIES[::-1]]


@pytest.fixture(scope="module")
def run() -> Path:
    return shared_export()


@pytest.fixture(scope="module")
def export(run: Path) -> GraphModel:
    return GraphModel(run / "graphs/onnx-fp32", threads=1)


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        assert our["confidence"] == pytest.approx(their["confidence"], abs=1e-5)
        assert {**our, "confidence": 0} == {**their, "confidence": 0}


@pytest.mark.parametrize("policies", LISTS)
def test_policies_do_the_same_on_an_export(run: Path, export: GraphModel, policies: list[Any]):
    """In a batch and one by one, with a reason for each that is held back."""
    ours = TorchModel.open(run, exit=FREE, policies=policies).answer(TEXTS, ABOUT)
    answerer = export.with_rules(None, policies)
    assert_same(answerer.answer(TEXTS, ABOUT), ours)
    alone = [answerer.answer([t], [a])[0] for t, a in zip(TEXTS[:8], ABOUT, strict=False)]
    assert_same(alone, ours[:8])


@pytest.mark.parametrize("policies", [[], [Veto(0.99)]], ids=["alone", "veto"])
def test_one_text_shows_the_same_way(run: Path, export: GraphModel, policies: list[Any]):
    ours = TorchModel.open(run, exit=FREE, policies=policies)
    theirs = export.with_rules(None, policies)
    for text in TEXTS[:6]:
        assert [*map(words, explained(theirs, text))] == [*map(words, explained(ours, text))]


def words(line: str) -> str:
    """Without the numbers, which may differ in their last digit."""
    return re.sub(r"0\.\d{3}\b", "x", line)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (MinRetention(0.9), "policy=min_retention asks for more tokens, and an export prunes in"),
        ("run", "policy.veto.run="),
        (PerSource({"a": [0.9, 0.8, 0.7]}), "policy.per_source.taus.a must have one value for"),
    ],
)
def test_what_an_export_cannot_do_is_refused(run: Path, export: GraphModel, policy: Any, said: str):
    policy = Veto(run=str(run)) if policy == "run" else policy
    assert refused(export.with_rules, None, [Veto(), policy]).startswith(said)


def test_later_exits_by_hand():
    """Taus at layer 4 alone; layer 2 is shut. Confidences 0.9, 0.9, 0.6."""
    guesses_EBC = np.log(np.array([[[0.9, 0.1]] * 3, [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]]]))
    later = StricterExits((2, 4), Confidence(0.8, [4])).review([{}] * 3)
    rows_B, going_B = np.arange(3), np.full(3, FIRST_REASON)
    assert later(going_B, guesses_EBC[:1], rows_B).tolist() == [0, 0, 0]
    assert later(going_B, guesses_EBC, rows_B).tolist() == [FIRST_REASON, FIRST_REASON, 0]
    assert later(np.zeros(3, int), guesses_EBC, rows_B).tolist() == [0, 0, 0]  # only later
    assert later(going_B, None, rows_B).tolist() == [Reason.LAST_LAYER] * 3
    deep = StricterExits((2, 4)).deep().review([{}] * 3)
    assert deep(going_B, guesses_EBC, rows_B).tolist() == [0, 0, 0]
    assert deep(going_B, None, rows_B).tolist() == [Reason.FALLBACK] * 3
    assert StricterExits((2, 4)).review([{}]) is None


@pytest.mark.parametrize("join", JOINS)
def test_windows_are_read_as_the_run_reads_them(run: Path, export: GraphModel, join: Any):
    label = None if join == "mean" else "positive"
    long = LongTexts("windows", size=12, overlap=4, join=join, label=label)
    words = ["good", "bad", "film", "not", "very", "the"]
    texts = [[" ".join(words[(i * k) % 6] for k in range(3 + 7 * i))] for i in range(8)]
    theirs = TorchModel.open(run, exit=FREE)
    theirs.read_long(long)
    ours = export.with_rules()
    ours.read_long(long)
    wanted = theirs.answer(texts)
    assert_same(ours.answer(texts), wanted)
    assert len({answer["windows"] for answer in wanted}) > 3
    runner = Runner(export.folder, threads=1)
    runner.reader = replace(runner.reader, long=long)
    assert_same(runner.answer(texts), wanted)


def test_the_command_takes_an_export(
    export: GraphModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    given = [f"run='{export.folder}'", "backend=onnx", "policy=veto", "policy.veto.margin=0.99"]
    (tmp_path / "lines").write_text("".join(f"{text}\n" for (text,) in TEXTS))
    with (tmp_path / "lines").open() as lines, started(stdin=lines):
        assert predict(config_of("predict", *given)) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert_same(found, export.with_rules(None, [Veto(0.99)]).answer(TEXTS))
    message = refused(predict, config_of("predict", *given, "exit.tau=0.9"))
    assert message.startswith(f"exit is not an option of run={export.folder}: the export has its")
    message = refused(predict, config_of("predict", *given, "dtype=int8"))
    assert message == "dtype=int8: these graphs are of fp32"


def test_without_conditions_a_single_text_goes_graph_by_graph(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    """As in OpenVINO's bf16, which leaves the outputs of a condition unwritten."""
    folder = run / "graphs/onnx-fp32"
    joined = GraphModel(folder, 1)
    wanted = [joined.answer([text])[0] for text in TEXTS[:8]]
    assert "single.onnx" in joined.sessions
    monkeypatch.setattr(ENGINES["onnx"], "branching", ("int8",))
    parted = GraphModel(folder, 1)
    assert_same([parted.answer([text])[0] for text in TEXTS[:8]], wanted)
    assert "single.onnx" not in parted.sessions
    assert len(parted.sessions) > 1


def test_openvino_s_bf16_has_no_graph_with_conditions(run: Path):
    folder = run / "graphs/onnx-fp32"
    assert GraphModel(folder, 1, "openvino", "fp32").joined
    assert not GraphModel(folder, 1, "openvino", "bf16").joined
