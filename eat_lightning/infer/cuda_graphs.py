"""CUDA graphs for one example at a time: between two exits nothing is decided, so the kernels of
such a stretch are recorded once and started again as one.

At batch 1 every size of a stretch follows, on the host, from the example's length and from how
strong its reduction is: what a top-k keeps is ceil((1 - p)(t - 1)), whichever tokens those are. So
the stretches are recorded per length, and asks the host once at each exit, as the
encoder does: does it leave?

Lengths are exact, not rounded up to a bucket. A padded token would have to be hidden from attention
(a masked kernel, other last bits), from the score, from the mean of a head and from the number
kept, which would then be counted on the device; and its rows would be multiplied. Exact lengths
need none of that, and answers are the encoder's own, bit for bit. What it costs is more recordings:
one for each length and exit, `most` lengths at once; weights and scratch memory are shared.

After PyTorch's documentation of CUDA graphs: warmed up on a side stream, recorded there, one memory
pool. Graphs of a pool may share scratch memory, so one example is done before the next begins.

Shapes: N packed tokens, C classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import raise_faults, whole_faults
from eat_lightning.model.contracts import ExitRule, overrides
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.heads import heads_asked
from eat_lightning.model.packed import Batch, Layout, Packed
from eat_lightning.model.recorder import TraceRecorder
from eat_lightning.model.trace import Trace

WARM_UP = 3  # calls before a recording: libraries choose kernels, the allocator its blocks


# Records work on the device: what starts it again, and what the work gave, whose tensors each start
# fills anew. Nothing of it has run for good before the first start.
Recorder = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]


class CudaRecorder:
    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        here = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UP):
                work()
        here.wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            given = work()
        return graph.replay, given


class Graphed:
    """An encoder whose single examples run as recorded; batches run as ever.

    It is for inference: the encoder is put in evaluation mode, and its weights may change in place,
    but its attention, its reduction and its strength are those it has now. Exit rule and policies
    are asked outside of the graphs, and may be others at any time. Calls come from one stream.
    `most`: lengths whose graphs are kept; the one not used for longest goes. ValueError where the
    encoder is not on a CUDA device (`record` stands in for one), or its reduction keeps as many
    tokens as their values say.
    """

    def __init__(self, encoder: AdaptiveEncoder, most: int = 64, record: Recorder | None = None):
        raise_faults(whole_faults("graphs.most", most, 1))
        device = encoder.embedding.word.weight.device
        if record is None and device.type != "cuda":
            raise ValueError(f"graphs are for a CUDA device, got {device.type}")
        raise_faults(encoder.reduction.export_blockers())
        self.encoder, self.most = encoder.eval(), most
        self.record = CudaRecorder(device) if record is None else record
        self.still = with_slots(encoder)
        # Its strength lies on the host: no recording may ask the device for it.
        self.still._buffers = encoder._buffers | {"strength": encoder.strength.detach().cpu()}
        self.kept: OrderedDict[Any, Stretches] = OrderedDict()
        self.lock = Lock()

    def __call__(self, batch: Batch) -> Trace:
        if batch.size != 1:
            return self.encoder(batch)
        with self.lock, torch.inference_mode():
            return self.run(batch)

    def prepare(self, lengths: Iterable[int]) -> None:
        """Record every stretch of these lengths, so that no request waits for it."""
        with self.lock, torch.inference_mode():
            for length in lengths:
                recorded = self.stretches(length, float(self.still.strength))
                for _ in recorded.parts():
                    pass

    def run(self, batch: Batch) -> Trace:
        """Do as `AdaptiveEncoder.travel`, of one example."""
        encoder = self.encoder
        recorder = TraceRecorder(len(encoder.layers), 1, encoder.rule)
        recorded = self.stretches(int(batch.lengths_B), self.strength(batch, recorder))
        recorded.take(batch)
        for part in recorded.parts():
            recorder.tokens_LB[part.first - 1 : part.last, 0] = torch.tensor(part.tokens)
            signal_BS = None if part.signal_BS is None else part.signal_BS.clone()
            recorder.guess(part.last, part.logits_BC.clone(), signal_BS)  # the next fills them anew
            reason_B = encoder.decide(batch, recorder, part.last, leave=True)
            if reason_B.any():
                recorder.leave(part.last, reason_B)
                break
        return recorder.end()

    def strength(self, batch: Batch, recorder: TraceRecorder) -> float:
        """The encoder's own, or less where a policy wishes so."""
        own_B = self.still.strength.double().expand(1)
        if not self.encoder.policies:
            return float(own_B)
        none_N = torch.zeros(int(batch.lengths_B), 0)
        bare = Packed(none_N, batch.layout(), batch.ids_N, batch.ids_N > 0, own_B)
        return float(self.encoder.ask(bare, batch, recorder, leave=True).strength_B)

    def stretches(self, length: int, strength: float) -> Stretches:
        layers, exit = layer_ranges(self.encoder), self.encoder.exit
        key = (length, strength, *layers, id(exit) if overrides(exit, ExitRule.observe) else None)
        if key not in self.kept:
            if len(self.kept) == self.most:
                self.kept.popitem(last=False)
            still = with_slots(self.still, exit=exit)
            self.kept[key] = Stretches(still, layers, length, strength, self.record)
        self.kept.move_to_end(key)
        return self.kept[key]


def layer_ranges(encoder: AdaptiveEncoder) -> list[tuple[int, int]]:
    """First and last layer of each stretch, up to an exit or to the end."""
    lasts = heads_asked(encoder.heads, encoder.rule)
    return list(zip([1, *(layer + 1 for layer in lasts)], lasts, strict=False))


class OneLayout(Layout):
    """The layout of one example. Numbers of the host are written by kernels that hold them: a copy
    from the host would read, at each start, memory that is long another's."""

    def there(self, x_B: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        return torch.full((1,), int(x_B), dtype=x_B.dtype, device=self.device)


class OneBatch(Batch):
    def layout(self) -> Layout:
        return OneLayout(self.lengths_B, self.ids_N.device)


@dataclass
class Part:
    """A recorded stretch: layers `first` to `last`, tokens entering each, what it gives, and what
    starts it. pools: for heads that see earlier exits."""

    first: int
    last: int
    tokens: list[int]
    logits_BC: Float[Tensor, "1 c"]
    signal_BS: Float[Tensor, "1 s"] | None
    pools: dict[int, Tensor]
    packed: Packed
    evidence: Evidence
    start: Callable[[], None] = lambda: None


class Stretches:
    """The stretches for one length and strength, each recorded when an example first gets there.
    It reads what the stretch before gave where that lies, so nothing is copied between them."""

    def __init__(
        self,
        encoder: AdaptiveEncoder,
        layers: list[tuple[int, int]],
        length: int,
        strength: float,
        record: Recorder,
    ):
        self.encoder, self.layers, self.record = encoder, layers, record
        ids_N = torch.zeros(length, dtype=torch.int64, device=encoder.embedding.word.weight.device)
        self.batch = OneBatch(ids_N, torch.zeros_like(ids_N), torch.tensor([length]))
        self.strength_B = torch.tensor([strength], dtype=torch.float64)
        self.recorded: list[Part] = []

    def take(self, batch: Batch) -> None:
        self.batch.ids_N.copy_(batch.ids_N, non_blocking=True)
        self.batch.types_N.copy_(batch.types_N, non_blocking=True)

    def parts(self) -> Iterator[Part]:
        """Each has run when it is given, and the next runs when it is asked for."""
        for number in range(len(self.layers)):
            if number == len(self.recorded):
                start, part = self.record(partial(self.work, number))
                self.recorded.append(replace(part, start=start))
            self.recorded[number].start()
            yield self.recorded[number]

    def work(self, number: int) -> Part:
        """From the reduction that awaits these layers to the guess behind them."""
        encoder, (first, last) = self.encoder, self.layers[number]
        noted = TraceRecorder(len(encoder.layers), 1, encoder.rule)
        noted.pools = dict(self.recorded[number - 1].pools) if number else {}
        packed, evidence, tokens = self.entering(number), Evidence(), []
        for layer in range(first, last + 1):
            tokens.append(packed.layout.num_tokens)
            packed, evidence = encoder.run_layer(packed, layer)
            if layer < last:
                packed = encoder.shorten(packed, evidence, layer)
        packed = encoder.guess(packed, noted, last)
        signal_BS = noted.signals.get(last)
        logits_BC, pools = noted.guesses[last], noted.pools
        return Part(first, last, tokens, logits_BC, signal_BS, pools, packed, evidence)

    def entering(self, number: int) -> Packed:
        """What the first layer of a stretch reads."""
        encoder = self.encoder
        if number:
            before = self.recorded[number - 1]
            # What a layout keeps must be filled by the recording that reads it, and not once, by a
            # call that warmed up.
            kept = before.packed.layout
            packed = replace(before.packed, layout=type(kept)(kept.lengths_B, kept.device))
            return encoder.shorten(packed, before.evidence, before.last)
        # `embed` makes a layout, and knows nothing of what a policy wishes.
        packed = replace(encoder.embed(self.batch), strength_B=self.strength_B)
        return encoder.shorten_embedding(packed)
