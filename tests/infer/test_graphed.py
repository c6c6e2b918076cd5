"""Stretches recorded once and started again give the encoder's own answers, bit for bit. For CUDA
stands a recorder of the processor's: it runs the work anew, into the memory of the first call."""

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from models import VOCAB, alone, combined, has_mask, kinds, method, ragged, tiny
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from eat_lightning.infer.cuda_graphs import Graphed, layer_ranges
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch, Layout

# Reductions whose sizes follow from the length: the others are refused.
COUNTED = [k for k in kinds("reduction") if not method("reduction", k).export_blockers()]


def tensors(given: Any) -> list[Tensor]:
    """All of the device that lie in what some work gave, in an order."""
    if isinstance(given, Tensor):
        return [given]
    if is_dataclass(given):
        names = [
            field.name for field in fields(given) if not field.name.endswith("_B")
        ]  # the host's
        return [t for name in names for t in tensors(getattr(given, name))]
    given = list(given.values()) if isinstance(given, dict) else given
    return [t for part in given for t in tensors(part)] if isinstance(given, (list, tuple)) else []


class Anew:
    """What a recording gives is rubbish until it is started, and always the same memory; but for
    what it hands on as it came from the recording before."""

    def __init__(self):
        self.recorded, self.started = 0, 0
        self.given: dict[int, Tensor] = {}

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.recorded += 1
        given = work()
        own = [i for i, place in enumerate(tensors(given)) if id(place) not in self.given]
        places = [tensors(given)[i] for i in own]
        for place in places:
            self.given[id(place)] = place
            place.fill_(torch.nan if place.is_floating_point() else True)

        def start() -> None:
            self.started += 1
            values = tensors(work())
            for place, i in zip(places, own, strict=True):
                place.copy_(values[i])

        return start, given


def singles(*lengths: int) -> list[Batch]:
    return alone(ragged(lengths, seed=len(lengths)))


def assert_equal(found: Any, wanted: Any) -> None:
    assert torch.equal(found.logits_BC, wanted.logits_BC)
    for name in ("depth_B", "tokens_LB", "reason_B"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    assert found.guesses.keys() == wanted.guesses.keys()
    same = {"rtol": 0, "atol": 0, "equal_nan": True}  # who has left has no guess
    for layer, guess_BC in wanted.guesses.items():
        torch.testing.assert_close(found.guesses[layer], guess_BC, **same)


@pytest.mark.parametrize(
    ("attention", "reduction", "exit"), combined(kinds("attention"), COUNTED, kinds("exit"))
)
def test_bit_for_bit_the_encoder(attention: str, reduction: str, exit: str):
    """Lengths come back with other words: an example must not meet what the one before left."""
    encoder = tiny(attention, reduction, exit)
    graphed = Graphed(encoder, record=Anew())
    given = singles(9, 14, 9, 1, 2, 14, 23, 9, 23, 2)
    with torch.inference_mode():
        wanted = [encoder(one) for one in given]
    found = [graphed(one) for one in given]
    for one, other in zip(found, wanted, strict=True):
        assert_equal(one, other)
    depths = {int(trace.depth_B) for trace in found}
    assert len(depths) > 1 or exit in ("never", "fixed") or attention != "dense"


def test_banded_attention_too():
    encoder = tiny("longformer", "norm_topk", "confidence", max_positions=400)
    graphed, given = Graphed(encoder, record=Anew()), singles(390, 390, 200)
    for one in given:
        with torch.inference_mode():
            wanted = encoder(one)
        assert_equal(graphed(one), wanted)


def test_each_stretch_is_recorded_once_and_the_host_asked_once_an_exit(
    monkeypatch: pytest.MonkeyPatch,
):
    encoder = tiny("dense", "norm_topk", "confidence")
    assert layer_ranges(encoder) == [(1, 3), (4, 4), (5, 6)]
    record, asked, decide = Anew(), [], AdaptiveEncoder.decide

    def counted(self, batch, journey, layer, leave):
        asked.append(layer)
        return decide(self, batch, journey, layer, leave)

    monkeypatch.setattr(AdaptiveEncoder, "decide", counted)
    graphed, deepest = Graphed(encoder, record=record), {}
    for one in singles(9, 14, 9, 14, 9, 7, 14, 9):
        asked.clear()
        started = record.started
        depth = int(graphed(one).depth_B)
        lasts = [3, 4, 6]
        assert asked == lasts[: lasts.index(depth) + 1]
        assert record.started - started == len(asked)
        length = int(one.lengths_B)
        deepest[length] = max(deepest.get(length, 0), len(asked))
    assert record.recorded == sum(deepest.values())


def test_answers_outlive_the_next_example():
    graphed = Graphed(tiny("dense", "none", "never"), record=Anew())
    first, second = singles(9, 9)
    before = graphed(first)
    kept = before.logits_BC.clone()
    assert not torch.equal(graphed(second).logits_BC, kept)
    assert torch.equal(before.logits_BC, kept)


def test_the_length_not_used_for_longest_goes():
    record = Anew()
    graphed = Graphed(tiny("dense", "norm_topk", "never"), most=2, record=record)
    for one in singles(9, 14, 9):
        graphed(one)
    record.given.clear()
    gone = weakref.ref(graphed.kept[14, 1.0, (1, 6), None].recorded[0].packed.x_ND)
    graphed(singles(7)[0])
    assert [key[0] for key in graphed.kept] == [9, 7]
    gc.collect()
    assert gone() is None


def test_policies_are_asked():
    """A wish for more tokens is another way; a second voice is heard outside of the graphs."""
    encoder = tiny("dense", "norm_topk", "confidence")
    graphed = Graphed(encoder, record=Anew())
    one, about = singles(20)[0], [{"source": "mail"}]
    given = Batch.from_lists([one.ids_N.tolist()])
    given.about = about
    plain = graphed(given)
    encoder.policies = [method("policy", kind) for kind in ("min_retention", "veto")]
    with torch.inference_mode():
        wanted = encoder(given)
    found = graphed(given)
    assert_equal(found, wanted)
    assert not torch.equal(found.tokens_LB, plain.tokens_LB)
    assert len({key[1] for key in graphed.kept}) == 2
    encoder.policies = [method("policy", "full_depth")]
    assert int(graphed(given).depth_B) == 6


def test_another_exit_rule_at_any_time():
    encoder = tiny("dense", "norm_topk", "confidence", head={"layers": [2, 3, 4]})
    graphed, (one,) = Graphed(encoder, record=Anew()), singles(12)
    for rule in (
        method("exit", "confidence", tau=1.0),
        method("exit", "confidence", tau=0.01),
        method("exit", "patience"),
        method("exit", "never"),
    ):
        encoder.exit = rule
        with torch.inference_mode():
            wanted = encoder(one)
        assert_equal(graphed(one), wanted)


def test_prepared_lengths_are_recorded_whole():
    record = Anew()
    graphed = Graphed(tiny("dense", "cls_topk", "confidence"), record=record)
    graphed.prepare([5, 9])
    assert record.recorded == 6
    graphed(singles(9)[0])
    assert record.recorded == 6


def test_batches_go_the_ordinary_way():
    record, encoder = Anew(), tiny("dense", "norm_topk", "confidence")
    with torch.inference_mode():
        assert_equal(Graphed(encoder, record=record)(ragged()), encoder(ragged()))
    assert record.recorded == 0


def test_refused():
    with pytest.raises(ValueError, match="graphs are for a CUDA device, got cpu"):
        Graphed(tiny())
    with pytest.raises(ValueError, match=r"graphs.most must be 1 or more, got 0"):
        Graphed(tiny(), most=0, record=Anew())
    with pytest.raises(ValueError, match="keeps as many tokens as their scores say"):
        Graphed(tiny("dense", "ltp"), record=Anew())


class NoTransfer(TorchDispatchMode):
    """Forbids an operation between the host and the device, of which there is only the shape."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = func(*args, **(kwargs or {}))
        met = {t.device.type for t in tensors([*args, given]) if t.ndim}
        assert len(met) < 2, f"{func} between {met}"
        return given


@pytest.mark.parametrize(
    ("attention", "bias"),
    [(kind, bias) for bias in (0, 8) for kind in kinds("attention") if not bias or has_mask(kind)],
)
@pytest.mark.parametrize("reduction", COUNTED)
def test_no_recording_meets_the_host(
    attention: str, reduction: str, bias: int, monkeypatch: pytest.MonkeyPatch
):
    """Neither may be recorded: a copy from the host, and a wait for the device. Of the latter the
    meta device, which has no values, raises by itself."""
    encoder = tiny(attention, reduction, "confidence", relative_buckets=bias, max_positions=400)
    met = []

    def record(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        with NoTransfer():
            given = work()
        met.append(given)
        return lambda: None, given

    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # none for meta
    strength = encoder.strength
    encoder.to("meta").strength = strength  # it is read once, beforehand
    graphed = Graphed(encoder, record=record)
    graphed.prepare([1, 9, 390])
    assert len(met) == 9
    assert all(t.is_meta for t in tensors(met) if t.dtype.is_floating_point and t.ndim > 1)


def test_a_copy_from_the_host_would_be_seen():
    layout = Layout(torch.tensor([3]), torch.device("meta"))
    with NoTransfer(), pytest.raises(AssertionError, match="between"):
        layout.offsets_B  # noqa: B018


@pytest.mark.gpu
@pytest.mark.parametrize("attention", kinds("attention"))
@pytest.mark.parametrize("reduction", COUNTED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_device(attention: str, reduction: str, dtype: torch.dtype):
    """Against the same device without graphs; then again, with graphs that had to go meanwhile."""
    encoder = tiny(attention, reduction, "confidence").cuda()
    for weight in encoder.parameters():
        weight.data = weight.data.to(dtype)
    graphed = Graphed(encoder, most=2)
    for one in 2 * singles(9, 14, 9, 1, 23, 9, 14):
        given = one.to("cuda")
        with torch.inference_mode():
            wanted = encoder(given)
        found = graphed(given)
        assert torch.equal(found.depth_B, wanted.depth_B)
        assert torch.equal(found.tokens_LB, wanted.tokens_LB)
        torch.testing.assert_close(found.logits_BC, wanted.logits_BC, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_on_a_device_the_host_waits_once_an_exit(monkeypatch: pytest.MonkeyPatch):
    encoder = tiny("dense", "norm_topk", "confidence").cuda()
    graphed, decide, waits = Graphed(encoder), AdaptiveEncoder.decide, []
    graphed.prepare([9])
    given = singles(9)[0].to("cuda")

    def counted(self, batch, journey, layer, leave):
        torch.cuda.set_sync_debug_mode("default")
        reason_B = decide(self, batch, journey, layer, leave)
        torch.cuda.set_sync_debug_mode("error")
        waits.append(layer)
        return reason_B

    monkeypatch.setattr(AdaptiveEncoder, "decide", counted)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trace = graphed(given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waits == [layer for layer in (3, 4, 6) if layer <= int(trace.depth_B)]
    assert int(given.ids_N.max()) < VOCAB
