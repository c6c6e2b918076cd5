"""A replay of a record is what is answered live: at every point of every exit rule, for texts that
fit, texts in windows and lists, in every engine that is installed. Pairs of methods are compared in
tests/model/test_pairs.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exports import shared_export
from helpers.models import kinds, tiny

from eat_lightning.bundle.cascade import CascadeModel
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.reranker import COLUMNS, ListModel
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.source import Source
from eat_lightning.data.split import make_split
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.long_texts import CUT, JOINS, LongTexts
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.contracts import ExitRule, Policy, at_point
from eat_lightning.model.trace import Trace
from eat_lightning.record.flops import replay_with_flops
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.record.windows import TextWindows
from eat_lightning.weights.precision import in_dtype

WORDS = (3, 30, 10, 7, 57, 11, 41, 70, 24, 1, 66)  # of each text, of which ten fit
SIZE = 12  # tokens that are read at once
LABELS = ["negative", "positive"]
POLICIES: list[tuple[Policy, ...]] = [(Veto(0.6),), (FullDepth(),)]
GROUPS = ["none", *JOINS]
ENGINES = [*(("torch", kind) for kind in kinds("exit")), ("onnx", ""), ("openvino", "")]


@dataclass
class Engine:
    """A model in one engine, and its exit rule with the knob at several points."""

    backend: Any
    rules: list[ExitRule]

    def at(self, rule: ExitRule, policies: Sequence[Policy] = ()) -> Model:
        """The model, whose examples leave by a rule."""
        return self.backend.at(Point.of(exit=rule, policies=policies))


def in_torch(kind: str) -> Engine:
    """A tiny encoder that exits by a rule of this kind."""
    tokenizer = toy_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "sep_token_id": tokenizer.sep_token_id}
    encoder = tiny("dense", "norm_topk", kind, num_labels=2, **sizes)
    labels = LABELS if encoder.num_labels == 2 else []
    backend = TorchModel(Path("tiny"), encoder, tokenizer, ["text"], labels, SIZE)
    knob: Any = encoder.exit.knob
    points = [] if knob is None else {knob.fine[0], knob.fine[len(knob.fine) // 2], knob.fine[-1]}
    return Engine(backend, [encoder.exit, *(at_point(encoder.exit, point) for point in points)])


def in_graphs(engine: str) -> Engine:
    """An export, whose exits can come later than its graphs say and never earlier."""
    pytest.importorskip("onnxscript")
    if faults := engine_faults(engine):
        pytest.skip(faults[0])
    export = GraphModel(shared_export() / "graphs/onnx-fp32", threads=1, engine=engine)
    own = export.methods["exit"].build()
    return Engine(export, [own, *(at_point(own, tau) for tau in (0.8, 0.9, 0.99))])


@pytest.fixture(scope="module", params=ENGINES, ids=" ".join)
def engine(request: pytest.FixtureRequest) -> Engine:
    name, kind = request.param
    return in_torch(kind) if name == "torch" else in_graphs(name)


def texts() -> list[list[str]]:
    random, words = np.random.default_rng(0), ["good", "bad", "film", "not", "very", "the"]
    return [[" ".join(random.choice(words, count))] for count in WORDS]


def long_of(group: str, engine: Engine) -> LongTexts:
    """How long texts are read; skips where these answers cannot be joined so."""
    if group == "none":
        return CUT
    label = None if group == "mean" or not engine.backend.labels else "positive"
    long = LongTexts("windows", SIZE, overlap=4, join=group, label=label)  # type: ignore[arg-type]
    if faults := long.faults(engine.backend.kind, engine.backend.labels, SIZE):
        pytest.skip(faults[0])
    return long


def split_of(backend: Model, long: LongTexts) -> Any:
    """The texts as the backend reads them."""
    source = Source([[text for [text] in texts()]], np.zeros(len(WORDS)))
    split = make_split("texts", source, toy_tokenizer(), backend.reader.max_length)
    reader = replace(backend.reader, long=long)
    return split if long == CUT else TextWindows.of(split, reader, backend.kind, backend.labels)


def assert_live_is(replay: Trace, traces: Iterable[Trace]) -> None:
    """All examples left once, where the replay says, with the same answer."""
    places: list[int] = []
    for trace in traces:
        rows_B = trace.rows_B
        places += rows_B.tolist()
        there = replay.take(rows_B)
        np.testing.assert_allclose(trace.logits_BC, there.logits_BC, atol=1e-4)
        assert trace.depth_B.tolist() == there.depth_B.tolist()
        assert trace.tokens_LB.tolist() == there.tokens_LB.tolist()
        assert trace.reasons == there.reasons
        assert trace.retention_B.tolist() == there.retention_B.tolist()
    assert sorted(places) == [*range(len(replay))]


@pytest.mark.parametrize("group", GROUPS)
def test_texts(engine: Engine, group: str):
    """One record holds for all points and policies (of which each engine and rule meets each in
    some group). What exits would have made of texts that all run every layer is the same too."""
    long, (own, *others) = long_of(group, engine), engine.rules
    record = engine.at(own).record(split_of(engine.backend, long))
    for rule in others:
        backend = engine.at(rule)
        backend.read_long(long)
        assert_live_is(record.replay(rule), backend.stream(texts()))
    for policies in ((), POLICIES[GROUPS.index(group) % len(POLICIES)]):
        backend = engine.at(own, policies)
        backend.read_long(long)
        replay = replace(record, policies=policies).replay(own)
        assert_live_is(replay, backend.stream(texts()))
        deep = [*backend.stream(texts(), deep=True)]
        full = replace(record, policies=(FullDepth(),)).replay(own)
        assert_live_is(full, deep)
        assert_live_is(replay, [replace(t.would, rows_B=t.rows_B) for t in deep if t.would])


def test_windows_that_count(engine: Engine):
    """With join=any a text ends with the first window where the label is found."""
    long = long_of("any", engine)
    backend = engine.at(engine.rules[0])
    backend.read_long(long)
    record = backend.record(split_of(backend, long))
    parts = record.replay(engine.rules[0]).parts
    assert parts is not None
    assert record.group_B is not None
    for trace in backend.stream(texts()):
        if trace.parts is not None:
            [text] = trace.rows_B.tolist()
            counted_W = parts.rows_B[record.group_B[parts.rows_B] == text]
            assert (counted_W - counted_W[0]).tolist() == trace.parts.rows_B.tolist()


@pytest.mark.parametrize("group", ["none", *JOINS])
@pytest.mark.parametrize("margin", [0.0, 0.6, 2.0])
def test_two_precisions_in_a_row(group: str, margin: float):
    """Both with exits: texts that run all layers in int8 with a small margin go on in fp32."""
    engine = in_torch("confidence")
    long, rule = long_of(group, engine), engine.rules[1]
    high, low = engine.at(rule), in_int8_too(engine.at(rule))
    backend = CascadeModel(Path("tiny"), low, high, margin)
    backend.read_long(long)
    records = [each.record(split_of(each, long)) for each in (low, high)]
    exits = Point.of(exit=rule)
    point = replace(exits, before=replace(exits, dtype="int8"), margin=margin)
    replay = replace(records[1], before=records[0]).replay(point)
    assert_live_is(replay, backend.stream(texts()))
    deep = [*backend.stream(texts(), deep=True)]
    assert_live_is(replay, [replace(t.would, rows_B=t.rows_B) for t in deep if t.would])
    assert max(replay.depth_B) == (6 if margin == 0.0 else 12)


def test_three_in_a_row():
    """A cascade may answer first in another one: depth counts the layers of all three."""
    engine = in_torch("confidence")
    high, low = engine.at(Never()), in_int8_too(engine.at(Never()))
    for margin, depth in ((0.0, 6), (2.0, 18)):
        both = CascadeModel(Path("tiny"), low, high, margin)
        model = CascadeModel(Path("tiny"), both, high, margin, is_again=False)
        answers = model.answer(texts())
        assert model.num_layers == 18
        assert {answer["depth"] for answer in answers if "depth" in answer} == {depth}
        wanted = (low if margin == 0.0 else high).answer(texts())
        assert [each.get("label") for each in answers] == [each.get("label") for each in wanted]


def test_both_passes_are_counted():
    """Of two precisions without exits: FLOPs of one where nobody goes on, twice those where all
    do."""
    engine = in_torch("confidence")
    backend = engine.at(engine.rules[0])
    found = backend.record(split_of(backend, CUT))
    both, whole = replace(found, before=found), Point.whole()
    once_B = replay_with_flops(engine.backend.encoder, found, whole).flops_B
    for margin, passes in ((0.0, 1), (2.0, 2)):
        point = replace(whole, before=Point.whole(dtype="int8"), margin=margin)
        twice = replay_with_flops(engine.backend.encoder, both, point)
        assert twice.flops_B.tolist() == (passes * once_B).tolist()


def in_int8_too(backend: Any) -> Model:
    return replace(backend, encoder=in_dtype(backend.encoder, "int8"))


@pytest.mark.parametrize("counts", [{}, {0: 2}, {1: 3, 3: 2}, {0: 4, 2: 1}], ids=str)
def test_lists(counts: dict[int, int]):
    tokenizer = toy_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "sep_token_id": tokenizer.sep_token_id}
    head = {"kind": "pair", "layers": [0, 1, 2, 3], "texts": 2}
    encoder = tiny(num_labels=1, head=head, **sizes)
    given = Path("tiny"), encoder, tokenizer, COLUMNS, [], 24
    backend = ListModel(*given, counts=counts)
    backend.read_long(CUT)
    list_B = np.repeat([0, 1, 2], [4, 6, 3])
    random, words = np.random.default_rng(0), ["good", "bad", "film", "not", "very", "the"]
    queries = ["good film", "not very bad", "the"]
    pairs = [[queries[i], " ".join(random.choice(words, 3 + n % 7))] for n, i in enumerate(list_B)]
    columns = [list(column) for column in zip(*pairs, strict=True)]
    split = make_split("lists", Source(columns, np.zeros(len(pairs))), tokenizer, 24)
    record: Record = replace(backend.record(split), group_B=list_B)
    replay = record.replay(Point(counts=counts))
    assert_live_is(replay, backend.stream(pairs))
    assert len({*replay.depth_B.tolist()}) == 1 + len(counts)
    assert_live_is(record.replay(Point(counts={})), backend.stream(pairs, deep=True))
