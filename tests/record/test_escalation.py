"""Two models in a row, by hand and as they answer."""

from dataclasses import replace

import numpy as np

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.reason import Reason, reason_names
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.escalation import AGAIN, STANDS, SURE, Escalation
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record

EXITS = Specification("exit", "confidence", {"tau": 0.9, "layers": [1]})


def logits(*first: float) -> np.ndarray:
    """Of two classes, from the probability of the first."""
    return np.log([[p, 1 - p] for p in first]).astype(np.float32)


def record(first: np.ndarray, last: np.ndarray, tokens: int) -> Record:
    tokens_LB = np.full((2, len(first)), tokens)
    return Record(np.zeros(len(first)), tokens_LB[0], {1: first, 2: last}, tokens_LB, Confidence())


def test_a_text_goes_on_from_the_last_layer_with_a_small_margin():
    """Margins: 0.9 at the exit, then 0.6, 0.2 and 0.2 at the end; the third goes on for 0.5."""
    trace = Trace(logits(0.95, 0.8, 0.4, 0.6), np.array([1, 2, 2, 1]))
    assert Escalation(SingleLabel(2), 0.5, 2, 3).goes_on(trace).tolist() == [0, 0, 1, 0]


def test_a_replay_of_two_precisions_by_hand():
    """In int8 the first text leaves at exit 1, the second stands and two go on; in bf16, with the
    same exit, one of these leaves and one runs all layers."""
    low = record(logits(0.95, 0.5, 0.6, 0.6), logits(0.9, 0.9, 0.55, 0.45), tokens=3)
    high = record(logits(0.5, 0.5, 0.95, 0.5), logits(0.9, 0.9, 0.4, 0.3), tokens=3)
    both = replace(high, before=low)
    int8 = Point(dtype="int8", methods={"exit": EXITS})
    point = Point(dtype="bf16", methods={"exit": EXITS}, before=int8, margin=0.5)
    trace = both.replay(point)
    assert both.num_layers == 4
    assert trace.depth_B.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(trace.logits_BC, logits(0.95, 0.9, 0.95, 0.3), rtol=1e-6)
    assert trace.reasons == ["confident", STANDS, "confident", AGAIN]
    assert (trace.tokens_LB > 0).sum(0).tolist() == [1, 2, 3, 4]


def test_of_another_model_the_reasons_are_its_own():
    low, high = (record(logits(0.5, 0.5), logits(*last), 3) for last in ((0.9, 0.55), (0.9, 0.2)))
    point = replace(Point.whole(), before=Point.whole(weights="small"), margin=0.5)
    assert replace(high, before=low).replay(point).reasons == [SURE, "last_layer"]


def test_without_a_margin_nobody_goes_on_and_with_a_large_one_all_of_the_last_layer_do():
    low = record(logits(0.95, 0.5), logits(0.9, 0.9), tokens=3)
    both = replace(record(logits(0.5, 0.5), logits(0.1, 0.1), tokens=3), before=low)
    whole = Point.whole(dtype="bf16")
    at = {m: replace(whole, before=Point(methods={"exit": EXITS}), margin=m) for m in (0.0, 2.0)}
    assert both.replay(at[0.0]).depth_B.tolist() == [1, 2]
    assert both.replay(at[2.0]).depth_B.tolist() == [1, 4]


def test_three_in_a_row():
    """What stood once does not go on later."""
    records = [record(logits(0.5, 0.5, 0.5), logits(*last), tokens=1) for last in
               ((0.9, 0.6, 0.6), (0.1, 0.9, 0.6), (0.1, 0.1, 0.1))]  # fmt: skip
    chain = replace(records[2], before=replace(records[1], before=records[0]))
    first = Point.whole()
    second = replace(first, before=first, margin=0.5)
    trace = chain.replay(replace(first, before=second, margin=0.9))
    assert trace.depth_B.tolist() == [2, 6, 6]
    assert trace.logits_BC.argmax(1).tolist() == [0, 1, 1]


def test_part_of_a_record_has_part_of_the_one_before():
    low = record(logits(0.95, 0.5, 0.6), logits(0.9, 0.9, 0.55), tokens=3)
    both = replace(low, before=low).take(np.array([2, 0]))
    assert both.before is not None
    np.testing.assert_allclose(both.before.full_BC, low.full_BC[[2, 0]])


def test_reasons_keep_their_names_whatever_their_codes():
    first = Trace(
        logits(0.9, 0.6), np.array([1, 2]), reason_B=np.array([5, Reason.LAST_LAYER]),
        names=reason_names(["patient", "sure"]),
    )  # fmt: skip
    second = Trace(
        logits(0.8), np.array([1]), reason_B=np.array([4]), names=reason_names(["confident"])
    )
    trace = Escalation(SingleLabel(2), 0.5, 2, 2).joined(first, second)
    assert trace.reasons == ["sure", "confident"]
